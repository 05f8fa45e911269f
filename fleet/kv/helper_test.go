package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// soon bounds what happens at once on an idle machine.
const soon = 20 * time.Second

// recorder is a View that keeps the values and what was done to it.
type recorder struct {
	mu      sync.Mutex
	values  map[string]string
	revs    map[string]uint64
	ops     map[Op]int
	last    map[string]Op
	begun   []Pass
	synced  []Pass
	lost    []error
	atSync  []map[string]string // values when Synced was called
	onBegin func(Pass)
	onApply func(Message)
}

func newRecorder() *recorder {
	return &recorder{values: map[string]string{}, revs: map[string]uint64{}, ops: map[Op]int{}, last: map[string]Op{}}
}

func (r *recorder) Begin(p Pass) {
	r.mu.Lock()
	f := r.onBegin
	r.begun = append(r.begun, p)
	r.mu.Unlock()
	if f != nil {
		f(p)
	}
}

func (r *recorder) Apply(m Message) {
	r.mu.Lock()
	f := r.onApply
	r.ops[m.Op]++
	r.last[m.Key] = m.Op
	if m.Op == Put {
		r.values[m.Key] = string(m.Value)
		r.revs[m.Key] = m.Revision
	} else {
		delete(r.values, m.Key)
		delete(r.revs, m.Key)
	}
	r.mu.Unlock()
	if f != nil {
		f(m)
	}
}

func (r *recorder) Synced(p Pass) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = append(r.synced, p)
	r.atSync = append(r.atSync, maps.Clone(r.values))
}

func (r *recorder) Lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = append(r.lost, err)
}

func (r *recorder) snapshot() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.values)
}

func (r *recorder) get(key string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.values[key]
	return v, ok
}

func (r *recorder) count(op Op) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ops[op]
}

func (r *recorder) lastOp(key string) Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[key]
}

func (r *recorder) passes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.synced)
}

func (r *recorder) lastPass() Pass {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.synced[len(r.synced)-1]
}

// newIncarnationSince reports whether a pass after the first n has found another incarnation. In a cluster one more may follow.
func (r *recorder) newIncarnationSince(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.synced[n:], func(p Pass) bool { return p.NewIncarnation })
}

func prov() Provisioning { return Provisioning{Fleet: "fleet"} }

func prov3() Provisioning { return Provisioning{Fleet: "fleet", Replicas: 3} }

// log shows what the package logs when a test fails or -v is set.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	_, err := w.t.Output().Write(b)
	return len(b), err
}

// ensured opens a bucket and creates it.
func ensured(t testing.TB, nc *nats.Conn, name string, p Provisioning) *Bucket {
	t.Helper()
	b := Open(nc, name, p)
	fleettest.Eventually(t, soon, "bucket "+name+" can be created", func() bool {
		err := b.Ensure(t.Context())
		if err != nil {
			t.Logf("ensure: %v", err)
		}
		return err == nil
	})
	// On three nodes a new stream does not answer at once to a client of another node. A delete at a
	// revision that no key has is refused when it does, and changes nothing.
	fleettest.Eventually(t, soon, "bucket "+name+" answers", func() bool {
		return errors.Is(b.DeleteIf(t.Context(), "probe", 1), ErrConflict)
	})
	return b
}

// reflect runs a reflector until the test ends.
func reflect(t testing.TB, cfg ReflectorConfig) *Reflector {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = testLog(t)
	}
	r := NewReflector(cfg)
	background(t, func(ctx context.Context) { _ = r.Run(ctx) })
	return r
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

// put writes a value as the test of a reader needs it: raw and unfenced.
func put(t testing.TB, b *Bucket, key, value string) uint64 {
	t.Helper()
	rev, err := b.Put(t.Context(), key, []byte(value), nil)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return rev
}

// fill writes n keys with many in flight and waits for all of them.
func fill(t testing.TB, b *Bucket, prefix string, n int) {
	t.Helper()
	js, err := b.nc.JetStream(nats.PublishAsyncMaxPending(4000))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.PublishAsync(fleet.KeySubject(b.name, fmt.Sprintf("%s%d", prefix, i)), []byte(fmt.Sprint(i)), nats.StallWait(soon)); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(2 * time.Minute):
		t.Fatal("publishes not acknowledged")
	}
}

// contents reads all values of a bucket directly, key by key, from the leader.
func contents(t testing.TB, b *Bucket) map[string]string {
	t.Helper()
	values := map[string]string{}
	info, err := b.info(t.Context())
	if err != nil {
		t.Fatalf("read the stream: %v", err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; {
		m, next := storedMessage(t, b, seq)
		if m == nil {
			break
		}
		h, _ := nats.DecodeHeadersMsg(m.Header)
		key, _ := fleet.SubjectKey(b.name, m.Subject)
		if operation(h) == Put {
			values[key] = string(m.Data)
		}
		seq = next
	}
	return values
}

// storedMessage returns the first message at or after seq.
func storedMessage(t testing.TB, b *Bucket, seq uint64) (*api.StoredMsg, uint64) {
	t.Helper()
	req := api.JSApiMsgGetRequest{Seq: seq, NextFor: fleet.KeySubject(b.name, ">")}
	resp, err := call[api.JSApiMsgGetResponse](t.Context(), b.nc, fmt.Sprintf(api.JSApiMsgGetT, fleet.StreamName(b.name)), req)
	if api.IsNatsErr(err, codeNoMessage) {
		return nil, 0
	}
	if err != nil {
		t.Fatalf("read message %d: %v", seq, err)
	}
	return resp.Message, resp.Message.Sequence + 1
}

// equal reports whether the view has exactly what the bucket has.
func equal(t testing.TB, v *recorder, b *Bucket) bool {
	t.Helper()
	return maps.Equal(v.snapshot(), contents(t, b))
}

// deleteStream deletes a bucket's stream.
func deleteStream(t testing.TB, b *Bucket) {
	t.Helper()
	_, err := call[api.JSApiStreamDeleteResponse](t.Context(), b.nc, fmt.Sprintf(api.JSApiStreamDeleteT, fleet.StreamName(b.name)), struct{}{})
	if err != nil {
		t.Fatalf("delete the stream: %v", err)
	}
}

// createStream creates a stream as somebody else might.
func createStream(t testing.TB, nc *nats.Conn, cfg api.StreamConfig) {
	t.Helper()
	fleettest.Eventually(t, soon, "the server creates "+cfg.Name, func() bool {
		_, err := call[api.JSApiStreamCreateResponse](t.Context(), nc, fmt.Sprintf(api.JSApiStreamCreateT, cfg.Name), api.JSApiStreamCreateRequest{StreamConfig: cfg})
		if err != nil && !api.IsNatsErr(err, codeStoreFailed) {
			t.Fatalf("create stream %s: %v", cfg.Name, err)
		}
		return err == nil
	})
}

// purgeAll removes all messages of a bucket.
func purgeAll(t testing.TB, b *Bucket) {
	t.Helper()
	if err := tryPurgeAll(t, b); err != nil {
		t.Fatalf("purge the stream: %v", err)
	}
}

func tryPurgeAll(t testing.TB, b *Bucket) error {
	_, err := call[api.JSApiStreamPurgeResponse](t.Context(), b.nc, fmt.Sprintf(api.JSApiStreamPurgeT, fleet.StreamName(b.name)), struct{}{})
	return err
}

// consumers returns the names of the stream's consumers.
func consumers(t testing.TB, b *Bucket) []string {
	t.Helper()
	resp, err := call[api.JSApiConsumerNamesResponse](t.Context(), b.nc, fmt.Sprintf(api.JSApiConsumerNamesT, fleet.StreamName(b.name)), struct{}{})
	if err != nil {
		t.Fatalf("list consumers: %v", err)
	}
	return resp.Consumers
}

// leads runs an elector whose term the test uses directly, and returns it once it holds the lease.
func leads(t testing.TB, b *Bucket, instance string, ttl time.Duration) (*Term, func()) {
	t.Helper()
	e := NewElector(ElectorConfig{Bucket: b, Own: true, Instance: instance, TTL: ttl, Log: testLog(t)})
	stop := background(t, func(ctx context.Context) {
		_ = e.Run(ctx, func(ctx context.Context, _ *Term) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	return awaitTerm(t, e), stop
}

func awaitTerm(t testing.TB, e *Elector) *Term {
	t.Helper()
	fleettest.Eventually(t, soon, "the lease is taken", func() bool { return e.Term() != nil })
	return e.Term()
}

func newEpoch(t testing.TB, term *Term) uint64 {
	t.Helper()
	epoch, err := term.NewEpoch(t.Context())
	if err != nil {
		t.Fatalf("new epoch: %v", err)
	}
	return epoch
}
