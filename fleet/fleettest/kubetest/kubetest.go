// Package kubetest gives tests a real Kubernetes API, as a child process of the test binary.
//
// One server serves a whole test binary, started by the first [KubeAPI]; each test gets a namespace of
// its own from it. The server ends with [Main], which TestMain must call, and with the test binary in
// any case: its standard input is a pipe from here. It is apart from package fleettest, so that tests
// without Kubernetes do not link its client.
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
package kubetest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// requestTimeout bounds each thing that this package asks of the server.
const requestTimeout = 20 * time.Second

// Server is a Kubernetes API that serves.
type Server struct {
	URL        string       // "https://127.0.0.1:41234"
	Kubeconfig string       // path of a kubeconfig whose user may do everything
	Config     *rest.Config // of the same; do not change it
	Dynamic    dynamic.Interface
}

// shared is the server of this test binary. It is the one thing in here that lasts longer than a test.
var shared struct {
	once   sync.Once
	server *Server
	stop   func() error
	err    error
}

// Main runs the tests, ends the server and what else they share, and returns the exit code: 1 also when goroutines
// were left.
func Main(m *testing.M, others ...func() error) int {
	code := m.Run()
	for _, end := range others {
		if err := end(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "kubetest:", err)
			code = max(code, 1)
		}
	}
	if shared.stop != nil {
		if err := shared.stop(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "kubetest:", err)
			code = max(code, 1)
		}
	}
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "goleak:", err)
		return 1
	}
	return 0
}

// KubeAPI returns the server of this test binary; the first call starts it, which takes some seconds,
// and builds it when this machine has never built it, which takes minutes.
func KubeAPI(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.stop, shared.err = launch(os.Stderr) })
	if shared.err != nil {
		t.Fatalf("start a Kubernetes API: %v", shared.err)
	}
	return shared.server
}

// Connect returns a server that somebody else runs, reached by a kubeconfig.
func Connect(url, kubeconfig string) (*Server, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	cfg.QPS = -1 // tests are not to wait for themselves
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("use %s: %w", kubeconfig, err)
	}
	return &Server{URL: url, Kubeconfig: kubeconfig, Config: cfg, Dynamic: client}, nil
}

// Namespace creates a namespace for the test and returns its name. It is deleted with the test, which
// does not wait for that.
func (s *Server) Namespace(t testing.TB) string {
	t.Helper()
	namespaces := s.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	made, err := namespaces.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"generateName": "test-"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create a namespace: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		if err := namespaces.Delete(ctx, made.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete namespace %s: %v", made.GetName(), err)
		}
	})
	return made.GetName()
}
