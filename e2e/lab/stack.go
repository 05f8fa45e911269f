package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet/fleettest/kubetest"
)

// LeaseTTL is the lease of the services in the lab: shorter than in production, so that a takeover
// takes seconds.
const LeaseTTL = 3 * time.Second

// Stack is everything that one test runs against.
type Stack struct {
	t    testing.TB
	dir  string // logs and stores
	bin  string
	own  string // where the product's own binaries are
	kube *kubetest.Server

	replicas int // of buckets

	Fleet string // the namespace
	NATS  *NATS
	API   *API

	mu        sync.Mutex
	instances []*Instance
}

// Options say how a stack differs from the usual one: one NATS server with JetStream, binaries with the race
// detector, no service, no device.
type Options struct {
	NoStream bool // servers without JetStream
	Nodes    int  // 3: a cluster, with three replicas of each bucket
	Shipped  bool // the binaries that are shipped: for what is measured
}

// New starts NATS and makes a namespace. Services and devices are started by the test.
func New(t testing.TB, o Options) *Stack {
	t.Helper()
	root := Root(t)
	s := &Stack{t: t, bin: BinDir(t), dir: logDir(t), replicas: max(o.Nodes, 1)}
	s.own = filepath.Join(s.bin, "race")
	if o.Shipped {
		s.own = s.bin
	}
	s.kube = kubetest.KubeAPI(t)
	s.kube.ApplyCRDs(t, filepath.Join(root, "deploy", "crds"))
	s.Fleet = s.kube.Namespace(t)
	s.API = newAPI(t, s.kube.Kubeconfig, s.Fleet)
	s.NATS = startNATS(t, s, o)
	t.Cleanup(s.stop)
	return s
}

// stop ends what the test left running, newest first.
func (s *Stack) stop() {
	s.mu.Lock()
	running := s.instances
	s.mu.Unlock()
	for i := len(running) - 1; i >= 0; i-- {
		running[i].end()
	}
	s.NATS.end()
	if s.t.Failed() {
		s.t.Logf("the logs of this stack are in %s", s.dir)
	}
}

// logDir is a directory that outlives the test when it fails.
func logDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "fleet-e2e-"+strings.ReplaceAll(t.Name(), "/", "-")+"-")
	if err != nil {
		t.Fatalf("make a directory for logs: %v", err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	return dir
}

// Root is the folder of go.work, above the package under test.
func Root(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find the working directory: %v", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.work above the working directory")
	return ""
}

// Eventually polls until cond returns nil, and fails the test with its last error after the deadline.
func (s *Stack) Eventually(within time.Duration, what string, cond func(ctx context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), within)
	defer cancel()
	err := fmt.Errorf("not asked yet")
	for ctx.Err() == nil {
		if err = cond(ctx); err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.t.Fatalf("%s: not within %s: %v (logs: %s)", what, within, err, s.dir)
}

// Conn is a connection for the test itself.
func (s *Stack) Conn() *nats.Conn { return s.NATS.conn() }
