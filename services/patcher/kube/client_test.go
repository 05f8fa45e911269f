package kube_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"harmony.dev/fleet"
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

// Behind a load balancer an apiserver that is away is one that takes connections and ends them.
func TestClient_SaysAtOnceThatAConnectionEnds(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	for _, scheme := range []string{"http://", "https://"} {
		client, err := kube.NewClient(&rest.Config{Host: scheme + l.Addr().String()}, "test")
		if err != nil {
			t.Fatal(err)
		}
		devices := client.Resource(schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: fleet.ResourceDevices})
		began := time.Now()
		if _, err := devices.List(t.Context(), metav1.ListOptions{}); err == nil {
			t.Errorf("%s: a list worked", scheme)
		}
		if w, err := devices.Watch(t.Context(), metav1.ListOptions{}); err == nil {
			w.Stop()
			t.Errorf("%s: a watch seems to have begun", scheme)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: it took %s to say so", scheme, took)
		}
	}
}
