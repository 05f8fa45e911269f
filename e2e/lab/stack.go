package lab

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/e2e/invariant"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet/fleettest/kubetest"
)

// LeaseTTL is the lease of the services in the lab: shorter than in production, so that a takeover
// takes seconds.
const LeaseTTL = 3 * time.Second

// stackVariable says which kind of stack tests run on; without it processes.
const stackVariable = "E2E_STACK"

// The kinds of stacks, as recordings name them.
const (
	kindProcesses = "processes"
	kindCompose   = "compose" // the containers of docker-compose.yml
)

// Stack is everything that one test runs against.
type Stack struct {
	t      testing.TB
	dir    string // logs and stores
	bin    string
	own    string // where the product's own binaries are
	direct bool   // no proxies
	began  time.Time

	project *Project // what the stack runs in; nil: processes

	replicas int // of buckets

	Fleet string // the namespace
	NATS  *NATS
	API   *API
	Kube  *kubetest.Server // shared by all tests of the package …
	Own   OwnKube          // … or, with Options.OwnKube, this test's own

	recorder *record.Recorder // nil: nothing is recorded
	watchers sync.WaitGroup   // of processes

	mu        sync.Mutex
	instances []*Instance
	measured  []Measure
	used      []Ability
	deaths    []string // processes that ended by themselves
}

// OwnKube is a Kubernetes API that a test may kill, start again on the store it had, and give back an older store.
// Whatever fails is fatal to the test.
type OwnKube interface {
	Kill()
	Start()
	Backup() string // of one that was killed: where to
	Restore(backup string)
}

// Options say how a stack differs from the usual one: one NATS server with JetStream, binaries with the race
// detector, no service, no device.
type Options struct {
	Nodes   int  // 3: a cluster, with three replicas of each bucket
	Shipped bool // the binaries that are shipped, without proxies and recorder: for what is measured
	OwnKube bool // a Kubernetes API of its own, for tests that kill it or restore its store
}

// New starts NATS and makes a namespace. Services and devices are started by the test. When the test ends,
// the recording of it is judged by package invariant.
func New(t testing.TB, o Options) *Stack {
	t.Helper()
	root := Root(t)
	s := &Stack{t: t, bin: BinDir(t), dir: logDir(t), replicas: max(o.Nodes, 1), direct: o.Shipped, began: time.Now()}
	s.own = filepath.Join(s.bin, "race")
	if o.Shipped {
		s.own = s.bin
	}
	s.kube(o)
	if s.project == nil {
		s.Kube.ApplyCRDs(t, filepath.Join(root, "deploy", "crds"))
	}
	s.Fleet = s.Kube.Namespace(t)
	s.API = newAPI(t, s.Kube.Kubeconfig, s.Fleet)
	s.NATS = startNATS(t, s, o)
	if !o.Shipped {
		s.recorder = record.Start(record.Config{NATS: s.NATS.connect(), Resources: s.Kube.Dynamic, Namespace: s.Fleet})
	}
	t.Cleanup(s.stop)
	if k, ok := s.Own.(*ownK3s); ok {
		t.Cleanup(k.revive)
	}
	return s
}

// kube finds the stack's Kubernetes API, and what kind of stack it is.
func (s *Stack) kube(o Options) {
	s.t.Helper()
	switch kind := os.Getenv(stackVariable); {
	case kind == kindCompose:
		s.project = compose(s.t)
		s.Kube = s.project.kube
		if o.OwnKube {
			s.Own = &ownK3s{t: s.t, project: s.project}
		}
	case kind != "" && kind != kindProcesses:
		s.t.Fatalf("%s=%s: the kinds of stacks are %s and %s", stackVariable, kind, kindProcesses, kindCompose)
	case o.OwnKube:
		own := kubetest.StartOwn(s.t)
		s.Own, s.Kube = own, own.Server
	default:
		s.Kube = kubetest.KubeAPI(s.t)
	}
}

// Kind is which kind of stack it is, as recordings name it.
func (s *Stack) Kind() string {
	if s.project != nil {
		return kindCompose
	}
	return kindProcesses
}

// stop judges the recording, and ends what the test left running, newest first.
func (s *Stack) stop() {
	s.judge()
	if s.t.Failed() {
		s.dump()
	}
	s.mu.Lock()
	running := s.instances
	s.mu.Unlock()
	for i := len(running) - 1; i >= 0; i-- {
		running[i].end()
	}
	s.watchers.Wait()
	s.NATS.end()
	if s.t.Failed() {
		s.t.Logf("logs and states of this stack are in %s", s.dir)
	}
}

// dump keeps the state of a stack whose test failed: every bucket, every resource, every health.
func (s *Stack) dump() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	state := map[string]any{"health": s.Health(ctx)}
	for _, bucket := range record.Buckets() {
		entries, err := s.NATS.Entries(ctx, bucket)
		if state[bucket] = entries; err != nil {
			state[bucket] = err.Error()
		}
	}
	resources, err := s.API.Resources(ctx)
	if state["resources"] = resources; err != nil {
		state["resources"] = err.Error()
	}
	doc, err := json.MarshalIndent(state, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, "state.json"), doc, 0o600)
	}
	if err != nil {
		s.t.Logf("keep the state: %v", err)
	}
}

// note records an event.
func (s *Stack) note(e record.Event) {
	if s.recorder != nil {
		s.recorder.Add(e)
	}
}

// Injected records that a fault was injected, and which buckets lose content by it. Package fault calls it.
func (s *Stack) Injected(fault, target string, loses ...string) {
	s.note(record.Event{Fault: &record.Fault{Name: fault, Stack: s.Kind(), Target: target, Loses: loses, Containers: s.containers()}})
}

// Healed records that a fault was healed.
func (s *Stack) Healed(fault, target string) {
	s.note(record.Event{Fault: &record.Fault{Name: fault, Stack: s.Kind(), Target: target, Healed: true, Containers: s.containers()}})
}

// Acked records that the server acknowledged a write of the scenario's own.
func (s *Stack) Acked(bucket, key string, revision uint64, value string) {
	s.note(record.Event{Ack: &record.Ack{Bucket: bucket, Key: key, Revision: revision, Value: value}})
}

// Refused records that the server was seen to refuse a fenced write of a holder that was deposed.
func (s *Stack) Refused(what string) {
	s.note(record.Event{Seen: &record.Seen{Path: invariant.PathRefused, Detail: what}})
}

// Steady runs f, in which no input changes: the checkers allow no write in it but heartbeats, and keys
// that begin with "_".
func (s *Stack) Steady(f func()) {
	s.note(record.Event{Steady: &record.Steady{}})
	defer s.note(record.Event{Steady: &record.Steady{End: true}})
	f()
}

// Recorded is what was recorded so far; nil when nothing is.
func (s *Stack) Recorded() record.Recording {
	if s.recorder == nil {
		return nil
	}
	return s.recorder.Recording()
}

// Instances are all processes of a service, or all of the stack for "".
func (s *Stack) Instances(service string) []*Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Instance
	for _, i := range s.instances {
		if service == "" || i.name == service {
			out = append(out, i)
		}
	}
	return out
}

// T is the test that the stack belongs to.
func (s *Stack) T() testing.TB { return s.t }

// Dir is where logs and stores are.
func (s *Stack) Dir() string { return s.dir }

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

var errNotAsked = errors.New("not asked yet")

// Eventually polls until cond returns nil, and fails the test with its last error after the deadline.
func (s *Stack) Eventually(within time.Duration, what string, cond func(ctx context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), within)
	defer cancel()
	err := errNotAsked
	for ctx.Err() == nil {
		last := cond(ctx)
		if last == nil {
			return
		}
		if ctx.Err() == nil || errors.Is(err, errNotAsked) { // else it says only that time is up
			err = last
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.t.Fatalf("%s: not within %s: %v%s (logs: %s)", what, within, err, s.died(), s.dir)
}

// died says which processes have ended by themselves: whatever else is wrong may follow from that.
func (s *Stack) died() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.deaths) == 0 {
		return ""
	}
	return "; " + strings.Join(s.deaths, "; ")
}

// Conn is a connection for the test itself.
func (s *Stack) Conn() *nats.Conn { return s.NATS.conn() }
