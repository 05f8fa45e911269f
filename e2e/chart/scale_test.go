package chart

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// scale is an API with one apps/v1 Deployment, of which it serves the scale and the only pod. Everything else it passes on
// to the real API.
type scale struct {
	t      *testing.T
	cfg    *rest.Config // how the account reaches the real API
	server *httptest.Server
	client dynamic.Interface
	where  question
	stop   func() error // how its pod ends
	zero   atomic.Bool  // it was scaled to 0
	ended  atomic.Bool  // and its pod has ended
	once   sync.Once
}

// grace is how long the pod goes on after it was told to end. The status of the scale does not count it any more.
const grace = time.Second

func newScale(t *testing.T, cfg *rest.Config, namespace, name string, stop func() error) *scale {
	t.Helper()
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	plain := rest.CopyConfig(cfg)
	plain.BearerToken = "" // whoever asks brings its own
	transport, err := rest.TransportFor(plain)
	if err != nil {
		t.Fatal(err)
	}
	s := &scale{t: t, cfg: cfg, client: client, stop: stop, where: question{
		namespace: namespace, resource: schema.GroupResource{Group: "apps", Resource: "deployments/scale"}, name: name,
	}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = transport
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc(fmt.Sprintf("/apis/apps/v1/namespaces/%s/deployments/%s/scale", namespace, name), s.serve)
	mux.HandleFunc(fmt.Sprintf("/api/v1/namespaces/%s/pods", namespace), s.pods)
	s.server = httptest.NewTLSServer(mux)
	t.Cleanup(s.server.Close)
	return s
}

// config is how the account reaches this API.
func (s *scale) config() *rest.Config {
	cfg := rest.CopyConfig(s.cfg)
	cfg.Host, cfg.CAFile, cfg.CAData = s.server.URL, "", nil
	cfg.Insecure = true
	return cfg
}

// down reports whether the Deployment was scaled to 0, and its pods have ended.
func (s *scale) down() bool { return s.ended.Load() }

func (s *scale) serve(w http.ResponseWriter, r *http.Request) {
	q := s.where
	q.verb = map[string]string{http.MethodGet: "get", http.MethodPatch: "patch"}[r.Method]
	if !s.may(w, r, q) {
		return
	}
	if r.Method == http.MethodPatch && !s.patch(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	replicas := 1
	if s.zero.Load() {
		replicas = 0
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": map[string]any{"name": q.name, "namespace": q.namespace},
		"spec": map[string]any{"replicas": replicas}, "status": map[string]any{"replicas": replicas, "selector": "of=" + q.name},
	})
}

// pods lists the pod for as long as it runs.
func (s *scale) pods(w http.ResponseWriter, r *http.Request) {
	q := question{namespace: s.where.namespace, verb: "list", resource: schema.GroupResource{Resource: "pods"}}
	if !s.may(w, r, q) {
		return
	}
	if got, want := r.URL.Query().Get("labelSelector"), "of="+s.where.name; r.Method != http.MethodGet || got != want {
		http.Error(w, fmt.Sprintf("%s of pods with %q, want those with %q", r.Method, got, want), http.StatusBadRequest)
		return
	}
	items := []any{}
	if !s.ended.Load() {
		metadata := map[string]any{"name": s.where.name + "-0"}
		if s.zero.Load() {
			metadata["deletionTimestamp"] = time.Now().UTC().Format(time.RFC3339)
		}
		items = append(items, map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": map[string]any{"phase": "Running"}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "v1", "kind": "PodList", "metadata": map[string]any{}, "items": items})
}

// may has the real API decide whether the account may.
func (s *scale) may(w http.ResponseWriter, r *http.Request, q question) bool {
	yes, err := mayI(r.Context(), s.client, q)
	if err != nil || !yes {
		http.Error(w, fmt.Sprintf("not allowed to %s %s, %v", q.verb, q.resource, err), http.StatusForbidden)
	}
	return err == nil && yes
}

func (s *scale) patch(w http.ResponseWriter, r *http.Request) bool {
	var patch struct{ Spec struct{ Replicas *int } }
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &patch)
	}
	if err != nil || patch.Spec.Replicas == nil || *patch.Spec.Replicas != 0 {
		http.Error(w, fmt.Sprintf("not a patch to 0: %s, %v", body, err), http.StatusBadRequest)
		return false
	}
	s.zero.Store(true)
	s.once.Do(func() {
		time.AfterFunc(grace, func() {
			if err := s.stop(); err != nil {
				s.t.Errorf("end the pod: %v", err)
			}
			s.ended.Store(true)
		})
	})
	return true
}
