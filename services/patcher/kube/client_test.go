package kube_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"harmony.dev/services/patcher/kube"
)

func TestClient_GoesThroughTheProxyOfTheKubeconfig(t *testing.T) {
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Host
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(`apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
clusters: [{name: c, cluster: {server: "http://apiserver.invalid", proxy-url: "`+proxy.URL+`"}}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := kube.Config(path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kube.NewClient(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	w, err := kube.NewWriter(kube.WriterConfig{Client: client, Namespace: "any", QPS: 1, Burst: 1})
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	u.SetName("pi-1")
	_, err = w.Merge(t.Context(), kube.Devices, u, labelPatch("1"))
	select {
	case host := <-asked:
		if host != "apiserver.invalid" {
			t.Errorf("the proxy was asked for %s", host)
		}
	default:
		t.Errorf("the proxy was not asked: %v", err)
	}
}
