package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/reconciler/plan"
)

// soon bounds what happens at once on an idle machine.
const soon = 30 * time.Second

func prov() kv.Provisioning { return kv.Provisioning{Fleet: "fleet"} }

// stack is NATS with the mirror that a patcher would write, and a tap on desired-state.
type stack struct {
	t       testing.TB
	control *fleettest.Server
	data    *fleettest.Server // the same unless the stack is split
	ctl, nc *nats.Conn        // connections to the two
	mirror  *kv.Term
	said    uint64 // last write to the mirror
	tap     *tap
}

func newStack(t testing.TB) *stack {
	t.Helper()
	server := fleettest.NATS(t)
	return newSplitStack(t, server, server)
}

func newSplitStack(t testing.TB, control, data *fleettest.Server) *stack {
	t.Helper()
	s := &stack{t: t, control: control, data: data, ctl: control.Conn(t), nc: data.Conn(t)}
	s.tap = newTap(t, s.nc)
	s.mirror = leads(t, kv.Open(s.ctl, fleet.BucketResources, prov()))
	s.newMirrorEpoch()
	return s
}

// leads holds the lease of a bucket until the test ends.
func leads(t testing.TB, b *kv.Bucket) *kv.Term {
	t.Helper()
	e := kv.NewElector(kv.ElectorConfig{Bucket: b, Own: true, Instance: "patcher", Log: testLog(t)})
	background(t, func(ctx context.Context) {
		_ = e.Run(ctx, func(ctx context.Context, _ *kv.Term) error {
			<-ctx.Done()
			return ctx.Err()
		})
	})
	fleettest.Eventually(t, soon, "the mirror's lease is taken", func() bool { return e.Term() != nil })
	return e.Term()
}

// whole says that the mirror is whole, under a new epoch.
func (s *stack) whole() {
	s.t.Helper()
	s.say(fleet.KeySynced, fleet.Synced{Epoch: s.newMirrorEpoch()})
}

func (s *stack) newMirrorEpoch() uint64 {
	s.t.Helper()
	epoch, err := s.mirror.NewEpoch(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return epoch
}

// say writes a value of the mirror as the patcher does.
func (s *stack) say(key string, value any) uint64 {
	s.t.Helper()
	last, err := s.mirror.Write(s.t.Context(), []kv.Write{{Key: key, Value: mustJSON(s.t, value)}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.said = last
	return last
}

func (s *stack) device(id string, change func(*fleet.MirrorDevice), labels ...string) {
	s.t.Helper()
	e := fleet.MirrorDevice{UID: "uid-" + id, Generation: 1, Labels: map[string]string{}}
	for i := 0; i+1 < len(labels); i += 2 {
		e.Labels[labels[i]] = labels[i+1]
	}
	if change != nil {
		change(&e)
	}
	s.say(fleet.DeviceKey(fleet.DeviceID(id)), e)
}

// devices says many devices at once and returns their ids.
func (s *stack) devices(n int) []string {
	s.t.Helper()
	ids, ops := make([]string, n), make([]kv.Write, n)
	for i := range ops {
		ids[i] = fmt.Sprintf("d%04d", i)
		ops[i] = kv.Write{Key: fleet.DeviceKey(fleet.DeviceID(ids[i])), Value: mustJSON(s.t, fleet.MirrorDevice{UID: "uid-" + ids[i]})}
	}
	last, err := s.mirror.Write(s.t.Context(), ops)
	if err != nil {
		s.t.Fatal(err)
	}
	s.said = last
	return ids
}

func (s *stack) deployment(name string, generation int64, text string, change func(*fleet.MirrorDeployment), labels ...string) {
	s.t.Helper()
	e := wish(name, generation, text, labels...)
	if change != nil {
		change(&e)
	}
	s.say(fleet.DeploymentKey(fleet.DeploymentName(name)), e)
}

func wish(name string, generation int64, text string, labels ...string) fleet.MirrorDeployment {
	e := fleet.MirrorDeployment{UID: "uid-" + name, Generation: generation, Score: score(text)}
	e.TargetSelector.MatchLabels = map[string]string{}
	for i := 0; i+1 < len(labels); i += 2 {
		e.TargetSelector.MatchLabels[labels[i]] = labels[i+1]
	}
	return e
}

func score(text string) fleet.Score {
	return fleet.Score{Type: "test", Data: json.RawMessage(fmt.Sprintf("%q", text))}
}

func wanted(t testing.TB, name, text string) string {
	t.Helper()
	b, err := fleet.EncodeDesired(fleet.Desired{UID: "uid-" + name, Score: score(text)})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// replica is a running reconciler.
type replica struct {
	*reconciler
	stop     func()
	health   *healthBook
	log      *logBook
	registry *prometheus.Registry
}

// settings of a test's replica; zero values are those of the service.
type settings struct {
	instance      string
	url           string // of the data connection
	controlURL    string
	leaseTTL      time.Duration
	quiet         time.Duration
	incompleteFor time.Duration
}

// start runs a replica until the test ends or stop is called.
func (s *stack) start(set settings) *replica {
	s.t.Helper()
	brake := plan.DefaultBrake()
	if set.quiet > 0 {
		brake.Quiet, brake.MaxWait = set.quiet, 6*set.quiet
	}
	if set.url == "" {
		set.url = s.data.URL()
	}
	if set.controlURL == "" {
		set.controlURL = s.control.URL()
	}
	if set.leaseTTL == 0 {
		set.leaseTTL = 10 * time.Second
	}
	data, control := fleettest.Connect(s.t, set.url), fleettest.Connect(s.t, set.controlURL)
	book := &logBook{out: s.t.Output()}
	log := slog.New(slog.NewTextHandler(book, &slog.HandlerOptions{Level: slog.LevelDebug})).With("instance", set.instance)
	registry := prometheus.NewRegistry()
	r, err := newReconciler(parts{
		data: data, control: control, provisioning: prov(), instance: set.instance, leaseTTL: set.leaseTTL,
		options: options{brake: brake, incompleteFor: set.incompleteFor}, metrics: registry, log: log,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	server, err := rpc.NewServer(control, rpc.Config{Service: fleet.ServiceReconciler, Instance: set.instance, Version: "1.0.0", Log: log})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := r.serve(server); err != nil {
		s.t.Fatal(err)
	}
	x := &replica{reconciler: r, health: &healthBook{degraded: map[string]*fleet.Reason{}}, log: book, registry: registry}
	r.tell(x.health)
	loops := append(r.loops(x.health), loop{"micro", server.Run})
	stop := background(s.t, func(ctx context.Context) {
		var wg sync.WaitGroup
		for _, l := range loops {
			wg.Go(func() {
				if err := l.run(ctx); err != nil {
					s.t.Errorf("%s: %v", l.name, err)
				}
			})
		}
		wg.Wait()
		data.Close()
		control.Close()
	})
	x.stop = stop
	return x
}

// background runs f until the test ends, or stop is called, and waits for it.
func background(t testing.TB, f func(ctx context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// keys waits until desired-state has exactly these pairs with these values.
func (s *stack) keys(want map[string]string) {
	s.t.Helper()
	var got map[string]string
	deadline := time.Now().Add(soon)
	for {
		got = s.tap.values()
		if maps.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("desired-state has\n  %v\nwant\n  %v", got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// rest waits until one of the replicas holds the lease, has seen all that the mirror says and has written
// its plan, and the tap has seen that.
func (s *stack) rest(replicas ...*replica) {
	s.t.Helper()
	fleettest.Eventually(s.t, soon, "a holder is at rest", func() bool {
		return slices.ContainsFunc(replicas, s.resting)
	})
}

func (s *stack) resting(r *replica) bool {
	if r.elector.Term() == nil || r.view.MirrorSource().Seq < s.said {
		return false
	}
	p, now := r.view.Plan()
	return now.Synced && p.Empty() && !r.holder.Converging() && s.tap.reached() >= now.Seq
}

// raw publishes to a bucket without any header, as a person would.
func (s *stack) raw(bucket, key, value string) {
	s.t.Helper()
	s.rawMsg(&nats.Msg{Subject: fleet.KeySubject(bucket, key), Data: []byte(value)})
}

// rawDelete deletes a key as a person would.
func (s *stack) rawDelete(bucket, key string) {
	s.t.Helper()
	s.rawMsg(&nats.Msg{Subject: fleet.KeySubject(bucket, key), Header: nats.Header{"KV-Operation": []string{"DEL"}}})
}

func (s *stack) rawMsg(m *nats.Msg) {
	s.t.Helper()
	nc := s.nc
	if strings.HasPrefix(m.Subject, fleet.KeySubject(fleet.BucketResources, "")) {
		nc = s.ctl
	}
	reply, err := nc.RequestMsg(m, soon)
	if err != nil || strings.Contains(string(reply.Data), `"error"`) {
		s.t.Fatalf("publish %s: %v %s", m.Subject, err, reply.Data)
	}
}

// ask asks for a snapshot as an agent does.
func (s *stack) ask(device string, req fleet.SnapshotRequest) (fleet.Snapshot, error) {
	ep := fleet.Endpoint{Service: fleet.ServiceReconciler, Subject: fleet.DesiredSubject(fleet.DeviceID(device))}
	ctx, cancel := context.WithTimeout(s.t.Context(), soon)
	defer cancel()
	return rpc.Call[fleet.SnapshotRequest, fleet.Snapshot](ctx, s.nc, ep, req)
}

// answered asks until the holder answers.
func (s *stack) answered(device string, req fleet.SnapshotRequest) fleet.Snapshot {
	s.t.Helper()
	var snapshot fleet.Snapshot
	fleettest.Eventually(s.t, soon, device+" is answered", func() (ok bool) {
		var err error
		snapshot, err = s.ask(device, req)
		return err == nil
	})
	return snapshot
}

// complete asks until the answer is complete: once the mirror's lease was seen to be renewed.
func (s *stack) complete(device string) (snapshot fleet.Snapshot) {
	s.t.Helper()
	fleettest.Eventually(s.t, soon, device+" is answered completely", func() bool {
		snapshot = s.answered(device, fleet.SnapshotRequest{})
		return snapshot.Complete
	})
	return snapshot
}

// tap sees every write to desired-state as the server republishes it.
type tap struct {
	mu      sync.Mutex
	last    map[string]operation
	history []operation
	highest uint64
}

// operation is one accepted write.
type operation struct {
	key, value string
	deleted    bool
	cause      string
	epoch      uint64
	revision   uint64
}

func newTap(t testing.TB, nc *nats.Conn) *tap {
	t.Helper()
	x := &tap{last: map[string]operation{}}
	sub, err := nc.Subscribe(fleet.LivePrefix+">", func(m *nats.Msg) { x.see(m) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return x
}

func (x *tap) see(m *nats.Msg) {
	op := operation{
		key: strings.TrimPrefix(m.Subject, fleet.LivePrefix), value: string(m.Data),
		deleted: m.Header.Get("KV-Operation") != "" || m.Header.Get("Nats-Marker-Reason") != "",
		cause:   m.Header.Get(fleet.HeaderCause),
	}
	_, _ = fmt.Sscan(m.Header.Get(fleet.HeaderEpoch), &op.epoch)
	_, _ = fmt.Sscan(m.Header.Get("Nats-Sequence"), &op.revision)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last[op.key] = op
	x.history = append(x.history, op)
	x.highest = op.revision
}

// reached returns the sequence of the last write seen.
func (x *tap) reached() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.highest
}

// values returns the pairs that exist.
func (x *tap) values() map[string]string {
	x.mu.Lock()
	defer x.mu.Unlock()
	got := map[string]string{}
	for k, op := range x.last {
		if !op.deleted && !fleet.IsReserved(k) {
			got[k] = op.value
		}
	}
	return got
}

func (x *tap) revision(key string) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last[key].revision
}

func (x *tap) get(key string) operation {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last[key]
}

// all returns the writes of the reconcilers after the first n: those that carry an epoch.
func (x *tap) all(n int) []operation {
	x.mu.Lock()
	defer x.mu.Unlock()
	var own []operation
	for _, op := range x.history[n:] {
		if op.epoch != 0 {
			own = append(own, op)
		}
	}
	return own
}

func (x *tap) length() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.history)
}

// healthBook is a healthTeller that remembers.
type healthBook struct {
	mu         sync.Mutex
	sources    []func() fleet.Source
	converging func() bool
	degraded   map[string]*fleet.Reason
	held       *fleet.Reason
}

func (h *healthBook) Source(_ string, _ bool, f func() fleet.Source) {
	h.sources = append(h.sources, f)
}
func (h *healthBook) Lease(func() *fleet.LeaseHealth) {}
func (h *healthBook) Converging(f func() bool)        { h.converging = f }

func (h *healthBook) Degraded(key string, r *fleet.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.degraded[key] = r
}

func (h *healthBook) Held(r *fleet.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = r
}

func (h *healthBook) reason(key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.degraded[key]; r != nil {
		return r.Reason
	}
	return ""
}

func (h *healthBook) heldMessage() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		return ""
	}
	return h.held.Message
}

// poison returns the keys set aside.
func (h *healthBook) poison() []string {
	var keys []string
	for _, f := range h.sources {
		for _, p := range f().Set {
			keys = append(keys, p.Key)
		}
	}
	slices.Sort(keys)
	return keys
}

// logBook keeps what is logged, and shows it with the test.
type logBook struct {
	out  interface{ Write([]byte) (int, error) }
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	return l.out.Write(b)
}

func (l *logBook) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

func testLog(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
