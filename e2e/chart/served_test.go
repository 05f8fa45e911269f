package chart

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// resource is one that an API serves, or a subresource: "deployments/status".
type resource struct {
	schema.GroupVersionResource
	kind       schema.GroupVersionKind
	namespaced bool
	verbs      []string
}

// subresource is "" or what is behind the slash.
func (r resource) subresource() string {
	_, sub, _ := strings.Cut(r.Resource, "/")
	return sub
}

// served asks an API for everything that it serves.
func served(t testing.TB, cfg *rest.Config) []resource {
	t.Helper()
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	paths := []string{"/api/v1"}
	var groups metav1.APIGroupList
	get(t, client, cfg.Host+"/apis", &groups)
	for _, g := range groups.Groups {
		for _, v := range g.Versions {
			paths = append(paths, "/apis/"+v.GroupVersion)
		}
	}
	var all []resource
	for _, path := range paths {
		var list metav1.APIResourceList
		get(t, client, cfg.Host+path, &list)
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			all = append(all, resource{
				GroupVersionResource: gv.WithResource(r.Name), kind: gv.WithKind(r.Kind), namespaced: r.Namespaced, verbs: r.Verbs,
			})
		}
	}
	return all
}

func get(t testing.TB, client *http.Client, url string, into any) {
	t.Helper()
	if err := tryGet(t, client, url, into); err != nil {
		t.Fatal(err)
	}
}

func tryGet(t testing.TB, client *http.Client, url string, into any) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return json.Unmarshal(body, into)
}
