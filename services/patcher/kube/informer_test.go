package kube_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/fleettest/kubetest"
	"harmony.dev/services/patcher/kube"
)

const soon = 30 * time.Second

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

func crds() string { return filepath.Join("..", "..", "..", "deploy", "crds") }

func definitions(api *kubetest.Server) dynamic.ResourceInterface {
	return api.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
}

// watched is an informer that runs, and the names that it said may have changed.
type watched struct {
	*kube.Informer
	store *kube.Store

	mu      sync.Mutex
	changed []string
}

// watch runs an informer of Devices until the test ends.
func watch(t *testing.T, cfg *rest.Config, namespace string) *watched {
	t.Helper()
	client, err := kube.NewClient(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{}
	w.store = kube.NewStore(func(name string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed = append(w.changed, name)
	})
	w.Informer = kube.NewInformer(kube.InformerConfig{
		Client: client, Kind: kube.Devices, Namespace: namespace, Store: w.store, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watched) reason() string {
	if r := w.Reason(); r != nil {
		return r.Reason
	}
	return ""
}

func (w *watched) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.changed)
	return slices.Compact(slices.Clone(w.changed))
}

func createDevice(t *testing.T, api *kubetest.Server, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	u, err := devices(api, namespace).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": kube.APIVersion, "kind": "Device", "metadata": map[string]any{"name": name},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func devices(api *kubetest.Server, namespace string) dynamic.ResourceInterface {
	return api.Dynamic.Resource(schema.GroupVersionResource{Group: "fleet.harmony.dev", Version: "v1alpha1", Resource: "devices"}).Namespace(namespace)
}

func TestInformer_WaitsForTheCRDs(t *testing.T) {
	api := kubetest.KubeAPI(t)
	for _, name := range []string{"deployments.fleet.harmony.dev", "devices.fleet.harmony.dev"} {
		_ = definitions(api).Delete(t.Context(), name, metav1.DeleteOptions{})
		fleettest.Eventually(t, soon, name+" is gone", func() bool {
			_, err := definitions(api).Get(t.Context(), name, metav1.GetOptions{})
			return err != nil
		})
	}
	namespace := api.Namespace(t)
	w := watch(t, api.Config, namespace)
	fleettest.Eventually(t, soon, "the reason says that the CRD is missing", func() bool {
		return w.reason() == kube.ReasonCRDMissing && !w.Synced()
	})
	if m := w.Reason().Message; !strings.Contains(m, "deploy/crds") {
		t.Errorf("the message does not say what to do: %s", m)
	}
	api.ApplyCRDs(t, crds())
	fleettest.Eventually(t, soon, "it is synced", w.Synced)
	createDevice(t, api, namespace, "pi-1")
	fleettest.Eventually(t, soon, "the Device is in view", func() bool { return w.store.Get("pi-1") != nil })
}

func TestInformer_RelistContainsWhatWasThereBefore(t *testing.T) {
	api := kubetest.KubeAPI(t)
	api.ApplyCRDs(t, crds())
	namespace := api.Namespace(t)
	w := watch(t, api.Config, namespace)
	for i := range 5 {
		name := "pi-" + string(rune('a'+i))
		createDevice(t, api, namespace, name)
		if err := w.Relist(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.store.Get(name) == nil {
			t.Fatalf("%s was created before the list and is not in it", name)
		}
	}
	if err := devices(api, namespace).Delete(t.Context(), "pi-a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Relist(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.store.Get("pi-a") != nil {
		t.Error("pi-a was deleted before the list and is in it")
	}
	if got := len(w.names()); got != 5 {
		t.Errorf("%d names changed", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Relist(ctx); err == nil {
		t.Error("a canceled relist returned no error")
	}
}

// faultyProxy stands before the apiserver and answers in its place while a code is set.
type faultyProxy struct {
	code     atomic.Int32
	requests atomic.Int64
	config   *rest.Config
	hangUp   func() // cuts every connection

	mu    sync.Mutex
	lists []url.Values // the parameters of each list
}

func newFaultyProxy(t *testing.T, api *kubetest.Server) *faultyProxy {
	t.Helper()
	target, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1
	p := &faultyProxy{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		p.record(r.URL.Query())
		code := int(p.code.Load())
		if code == 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Retry-After", "60") // the real one says 1
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "no")
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	p.hangUp = server.CloseClientConnections
	p.config = &rest.Config{Host: server.URL}
	return p
}

func (p *faultyProxy) record(query url.Values) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !query.Has("watch") {
		p.lists = append(p.lists, query)
	}
}

// A list that names a version may be answered from a cache that is behind.
func TestInformer_ListsByQuorum(t *testing.T) {
	api := kubetest.KubeAPI(t)
	api.ApplyCRDs(t, crds())
	p := newFaultyProxy(t, api)
	w := watch(t, p.config, api.Namespace(t))
	for range 3 {
		if err := w.Relist(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, query := range p.lists {
		if query.Has("resourceVersion") || query.Has("resourceVersionMatch") {
			t.Errorf("a list asked for %v", query)
		}
	}
	if len(p.lists) < 3 {
		t.Errorf("%d lists", len(p.lists))
	}
}

func (p *faultyProxy) listed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lists)
}

// An apiserver that was restored from a backup does not know the version of a watch that went on.
func TestInformer_ListsAgainAfterAFailedWatch(t *testing.T) {
	api := kubetest.KubeAPI(t)
	api.ApplyCRDs(t, crds())
	p := newFaultyProxy(t, api)
	namespace := api.Namespace(t)
	w := watch(t, p.config, namespace)
	fleettest.Eventually(t, soon, "it is synced", w.Synced)
	for _, code := range []int32{http.StatusTooManyRequests, http.StatusInternalServerError} {
		before := p.listed()
		p.code.Store(code)
		p.hangUp()
		fleettest.Eventually(t, soon, "the watch is lost", func() bool { return !w.Synced() })
		after := p.listed()
		p.code.Store(0)
		fleettest.Eventually(t, soon, "it is synced again", w.Synced)
		if last := p.listed(); last == after && after == before {
			t.Errorf("after %d it went on without a list", code)
		}
	}
}

func TestInformer_ErrorsAreRetriedAtABoundedRate(t *testing.T) {
	api := kubetest.KubeAPI(t)
	api.ApplyCRDs(t, crds())
	tests := []struct {
		code   int32
		reason string
	}{
		{http.StatusTooManyRequests, kube.ReasonAPIBusy},
		{http.StatusInternalServerError, kube.ReasonAPIFailing},
		{http.StatusServiceUnavailable, kube.ReasonAPIFailing},
		{http.StatusForbidden, kube.ReasonAPIForbidden},
		{http.StatusUnauthorized, kube.ReasonAPIUnauthorized},
	}
	for _, tt := range tests {
		t.Run(http.StatusText(int(tt.code)), func(t *testing.T) {
			p := newFaultyProxy(t, api)
			p.code.Store(tt.code)
			w := watch(t, p.config, api.Namespace(t))
			fleettest.Eventually(t, soon, "the reason", func() bool { return w.reason() == tt.reason })
			begin, before := time.Now(), p.requests.Load()
			fleettest.Eventually(t, soon, "two more attempts", func() bool { return p.requests.Load() >= before+2 })
			if perSecond := float64(p.requests.Load()-before) / time.Since(begin).Seconds(); perSecond > 12 {
				t.Errorf("%.0f requests per second", perSecond)
			}
			p.code.Store(0)
			fleettest.Eventually(t, soon, "it is synced", w.Synced)
		})
	}
}

// relay passes bytes to the apiserver until it is told to swallow them.
type relay struct {
	net.Listener
	target string
	black  atomic.Bool
	conns  sync.WaitGroup
}

func newRelay(t *testing.T, api *kubetest.Server) *relay {
	t.Helper()
	u, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, target: u.Host}
	ctx, cancel := context.WithCancel(context.Background())
	r.conns.Go(func() { r.serve(ctx) })
	t.Cleanup(func() { cancel(); _ = l.Close(); r.conns.Wait() })
	return r
}

func (r *relay) serve(ctx context.Context) {
	for {
		in, err := r.Accept()
		if err != nil {
			return
		}
		var d net.Dialer
		out, err := d.DialContext(ctx, "tcp", r.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		hangUp := func() { _ = in.Close(); _ = out.Close() }
		context.AfterFunc(ctx, hangUp)
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			r.conns.Go(func() {
				defer hangUp()
				r.copy(pair[1], pair[0])
			})
		}
	}
}

func (r *relay) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !r.black.Load() {
			_, _ = to.Write(buf[:n])
		}
	}
}

func TestInformer_NoticesABlackHole(t *testing.T) {
	api := kubetest.KubeAPI(t)
	api.ApplyCRDs(t, crds())
	r := newRelay(t, api)
	cfg := rest.CopyConfig(api.Config)
	cfg.Host = "https://" + r.Addr().String()
	namespace := api.Namespace(t)
	w := watch(t, cfg, namespace)
	fleettest.Eventually(t, soon, "it is synced", w.Synced)
	r.black.Store(true)
	fleettest.Eventually(t, soon, "the silence is noticed", func() bool { return w.reason() == kube.ReasonAPIUnreachable })
	createDevice(t, api, namespace, "pi-1")
	r.black.Store(false)
	fleettest.Eventually(t, soon, "what happened meanwhile is in view", func() bool {
		return w.Synced() && w.store.Get("pi-1") != nil
	})
}

func listAll(t *testing.T, of dynamic.ResourceInterface) []unstructured.Unstructured {
	t.Helper()
	list, err := of.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}
