package kv

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/fleettest/proxy"
)

func TestReflector_ReadsThenTails(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	fill(t, b, "state.pi-", 1000)
	put(t, b, "state.pi-1", "again")
	last := deleted(t, b, "state.pi-2")
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: b, View: v})
	if err := r.WaitSeq(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if !equal(t, v, b) {
		t.Fatal("the view differs from the bucket")
	}
	s := r.Source()
	if !s.Synced || s.Entries != 999 || s.Seq != last || s.Done != s.Total || s.Pass != 1 || s.Reason != "" || s.Name != b.Name() {
		t.Errorf("source %+v", s)
	}
	seq := put(t, b, "state.pi-new", "v")
	if err := r.WaitSeq(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
	if got, ok := v.get("state.pi-new"); !ok || got != "v" {
		t.Errorf("after the wait the view has %q, %v", got, ok)
	}
	if v.passes() != 1 {
		t.Errorf("%d passes", v.passes())
	}
}

// deleted deletes a key and returns the revision of the marker.
func deleted(t testing.TB, b *Bucket, key string) uint64 {
	t.Helper()
	rev, err := b.Revision(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteIf(t.Context(), key, rev); err != nil {
		t.Fatal(err)
	}
	if rev, err = b.Revision(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	return rev
}

// Memory storage alone: in files the server keeps two bits of each sequence for itself.
func TestReflector_SequencesNearTheTop(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	for name, first := range map[string]uint64{"20 digits": 9_999_999_999_999_999_990, "the top": math.MaxUint64 - 1000} {
		t.Run(name, func(t *testing.T) {
			b := Open(nc, fleet.BucketDesiredState, Provisioning{Fleet: "fleet", Storage: Memory})
			createStream(t, nc, streamConfig(b.name, b.prov, first))
			defer deleteStream(t, b)
			fill(t, b, "pi-", 20)
			v := newRecorder()
			r := reflect(t, ReflectorConfig{Bucket: b, View: v, Poll: 50 * time.Millisecond})
			fleettest.Eventually(t, soon, "synced", r.Synced)
			term, stop := leads(t, b, "pi", time.Minute)
			if epoch := newEpoch(t, term); epoch < first {
				t.Errorf("epoch %d", epoch)
			}
			seq, err := term.Write(t.Context(), []Write{{Key: "pi-1", Value: []byte("1")}, {Key: "pi-new", Value: []byte("2")}})
			if err != nil {
				t.Fatal(err)
			}
			stop()
			if err := r.WaitSeq(t.Context(), seq); err != nil {
				t.Fatal(err)
			}
			purge(t, b, "pi-3")
			fleettest.Eventually(t, soon, "the purge is noticed", func() bool { return v.passes() > 1 && r.Synced() && equal(t, v, b) })
		})
	}
}

func TestReflector_EmptyBucketIsSynced(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: Open(nc, fleet.BucketDesiredState, prov()), Own: true, View: v})
	fleettest.Eventually(t, soon, "the empty bucket is synced", r.Synced)
}

func TestReflector_ReaderWaitsForTheCreator(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := Open(nc, fleet.BucketResources, prov())
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: b, View: v})
	fleettest.Eventually(t, soon, "the reason names the creator", func() bool {
		return strings.Contains(r.Source().Reason, fleet.ServicePatcher)
	})
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, soon, "synced after creation", r.Synced)
}

func TestReflector_NoticesWhatKVWatchersMiss(t *testing.T) {
	faults := map[string]struct {
		inject func(t *testing.T, b *Bucket)
		fresh  bool // the view must learn that revisions are not comparable
	}{
		"stream deleted and created again at once": {func(t *testing.T, b *Bucket) {
			deleteStream(t, b)
			ensured(t, b.nc, b.name, b.prov)
			fleettest.Eventually(t, soon, "the new stream takes messages", func() bool {
				_, err := b.Put(t.Context(), "state.new.one", []byte("1"), nil)
				return err == nil
			})
		}, true},
		"stream purged":               {func(t *testing.T, b *Bucket) { purgeAll(t, b) }, false},
		"stream purged and refilled":  {func(t *testing.T, b *Bucket) { purgeAll(t, b); fill(t, b, "state.other-", 5) }, false},
		"one subject purged":          {func(t *testing.T, b *Bucket) { purge(t, b, "state.pi-7") }, false},
		"consumer deleted":            {func(t *testing.T, b *Bucket) { deleteConsumers(t, b) }, false},
		"one subject purged, put new": {func(t *testing.T, b *Bucket) { purge(t, b, "state.pi-7"); put(t, b, "state.new.two", "2") }, false},
	}
	for where, conn := range servers(t) {
		for name, f := range faults {
			t.Run(where+"/"+name, func(t *testing.T) {
				nc := conn.Conn(t)
				b := ensured(t, nc, fleet.BucketDeviceState, conn.prov)
				defer deleteStream(t, b)
				fill(t, b, "state.pi-", 100)
				v := newRecorder()
				r := reflect(t, ReflectorConfig{Bucket: b, Own: true, View: v, Poll: 200 * time.Millisecond})
				fleettest.Eventually(t, soon, "synced", r.Synced)
				f.inject(t, b)
				began := time.Now()
				fleettest.Eventually(t, soon, "a new pass is synced", func() bool { return v.passes() > 1 && r.Synced() })
				t.Logf("noticed and read again after %s", time.Since(began).Round(time.Millisecond))
				fleettest.Eventually(t, soon, "the view equals the bucket", func() bool { return equal(t, v, b) })
				if got := v.lastPass().NewIncarnation; got != f.fresh {
					t.Errorf("new incarnation %v, want %v", got, f.fresh)
				}
			})
		}
	}
}

func purge(t testing.TB, b *Bucket, key string) {
	t.Helper()
	if err := b.Purge(t.Context(), key); err != nil {
		t.Fatalf("purge %s: %v", key, err)
	}
}

func deleteConsumers(t testing.TB, b *Bucket) {
	t.Helper()
	for _, name := range consumers(t, b) {
		if !deleteConsumer(t.Context(), b.nc, b.name, name) {
			t.Fatalf("consumer %s not deleted", name)
		}
	}
}

func TestReflector_StreamLost(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceInfo, prov())
	put(t, b, "info.pi-01", "v")
	reading, owning := newRecorder(), newRecorder()
	reader := reflect(t, ReflectorConfig{Bucket: b, View: reading})
	fleettest.Eventually(t, soon, "the reader is synced", reader.Synced)
	deleteStream(t, b)
	fleettest.Eventually(t, soon, "the reader waits and says for whom", func() bool {
		return !reader.Synced() && strings.Contains(reader.Source().Reason, fleet.ServiceAggregator)
	})
	if _, ok := reading.get("info.pi-01"); !ok {
		t.Error("the reader has forgotten what it knew")
	}
	owner := reflect(t, ReflectorConfig{Bucket: b, Own: true, View: owning})
	fleettest.Eventually(t, soon, "the owner created the bucket and both are synced", func() bool {
		return owner.Synced() && reader.Synced()
	})
	if _, ok := reading.get("info.pi-01"); ok || reading.count(Swept) != 1 {
		t.Error("what is gone was not swept")
	}
}

// backedUp returns a server, a bucket of 50 keys, and a copy of the store as it is.
func backedUp(t *testing.T) (srv *fleettest.Server, b *Bucket, backup string) {
	t.Helper()
	srv = fleettest.NATS(t)
	nc := srv.Conn(t)
	b = ensured(t, nc, fleet.BucketDeviceState, prov())
	fill(t, b, "state.pi-", 50)
	srv.Shutdown()
	backup = srv.CopyStore()
	srv.Start()
	fleettest.Eventually(t, soon, "connected", nc.IsConnected)
	return srv, b, backup
}

func TestReflector_ServerRolledBack(t *testing.T) {
	srv, b, backup := backedUp(t)
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: b, View: v})
	fill(t, b, "state.later-", 50)
	fleettest.Eventually(t, soon, "all in view", func() bool { return len(v.snapshot()) == 100 })
	srv.Shutdown()
	fleettest.Eventually(t, soon, "not synced while the server is down", func() bool { return !r.Synced() && r.Source().Reason != "" })
	srv.RestoreStore(backup)
	srv.Start()
	fleettest.Eventually(t, soon, "the view went back, too", func() bool { return r.Synced() && len(v.snapshot()) == 50 && equal(t, v, b) })
	if !v.lastPass().NewIncarnation {
		t.Error("the view did not learn that revisions are not comparable")
	}
}

// The pass that is cut has its barrier, and nothing in view yet. It is the only one that knew the stream's last sequence.
func TestReflector_ServerRolledBackWhileAPassBegins(t *testing.T) {
	srv, b, backup := backedUp(t)
	fill(t, b, "state.later-", 50)
	v := newRecorder()
	begun, proceed := make(chan struct{}), make(chan struct{})
	v.onBegin = func(p Pass) {
		if p.Number == 2 {
			close(begun)
			<-proceed
		}
	}
	r := reflect(t, ReflectorConfig{Bucket: b, View: v})
	fleettest.Eventually(t, soon, "all in view", func() bool { return r.Synced() && len(v.snapshot()) == 100 })
	deleteConsumers(t, b)
	await(t, begun, "the next pass begins")
	srv.Shutdown()
	srv.RestoreStore(backup)
	close(proceed)
	srv.Start()
	fleettest.Eventually(t, soon, "the view went back, too", func() bool { return v.passes() == 2 && r.Synced() && equal(t, v, b) })
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.begun[2:] {
		if p.NewIncarnation {
			return
		}
	}
	t.Errorf("the view did not learn that revisions are not comparable: %+v", v.begun)
}

// A stream is another one when it was created again or set back, measured by the last pass, cut or not, and by that alone.
func TestReflector_TellsAnotherStream(t *testing.T) {
	type pass struct {
		created  time.Time
		barrier  uint64
		position uint64 // where it ended
		fresh    bool   // it finds another stream
	}
	again := stored.Add(time.Hour)
	for name, passes := range map[string][]pass{
		"read again":                  {{stored, 1000, 1000, false}, {stored, 1000, 1000, false}},
		"set back":                    {{stored, 1000, 1000, false}, {stored, 999, 999, true}},
		"set back in the tail":        {{stored, 1000, 1100, false}, {stored, 1050, 1050, true}},
		"set back after a cut":        {{stored, 1000, 1000, false}, {stored, 1000, 300, false}, {stored, 500, 500, true}},
		"set back after two cuts":     {{stored, 1000, 1000, false}, {stored, 1000, 300, false}, {stored, 1000, 0, false}, {stored, 500, 500, true}},
		"set back after an early cut": {{stored, 1000, 1000, false}, {stored, 1000, 0, false}, {stored, 500, 500, true}},
		"set back after the first":    {{stored, 1000, 0, false}, {stored, 500, 500, true}},
		"as before after a cut":       {{stored, 1000, 1000, false}, {stored, 1000, 300, false}, {stored, 1000, 1000, false}},
		"set back and cut":            {{stored, 1000, 1000, false}, {stored, 500, 100, true}, {stored, 500, 500, false}},
		"created again, lower":        {{stored, 1000, 1000, false}, {again, 10, 10, true}, {again, 10, 10, false}, {again, 20, 20, false}},
		"created again and cut":       {{stored, 1000, 300, false}, {again, 10, 0, true}, {again, 10, 10, false}, {again, 9, 9, true}},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReflector(ReflectorConfig{Bucket: Open(nil, fleet.BucketDeviceState, prov())})
			for i, p := range passes {
				if got := r.isNew(p.created, p.barrier); got != p.fresh {
					t.Errorf("pass %d: another stream %v, want %v", i+1, got, p.fresh)
				}
				r.pass = Pass{Number: uint64(i + 1), Created: p.created, Barrier: p.barrier}
				r.leave(&reading{pass: r.pass, position: p.position})
			}
		})
	}
}

func TestReflector_ServerRestartedMidReplay(t *testing.T) {
	srv := fleettest.NATS(t)
	nc := srv.Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	fill(t, b, "state.pi-", 5000)
	v := newRecorder()
	reached, proceed := make(chan struct{}), make(chan struct{})
	v.onApply = onNth(2000, func() { close(reached); <-proceed })
	r := reflect(t, ReflectorConfig{Bucket: b, View: v})
	await(t, reached, "the replay is under way")
	srv.Restart()
	close(proceed)
	fleettest.Eventually(t, soon, "synced on the new server", func() bool { return v.passes() > 0 && r.Synced() && equal(t, v, b) })
}

func TestReflector_ConnectionCutMidReplay(t *testing.T) {
	srv := fleettest.NATS(t)
	direct := srv.Conn(t)
	b := ensured(t, direct, fleet.BucketDeviceState, prov())
	fill(t, b, "state.pi-", 5000)
	p := proxy.New(t, srv.URL())
	nc := (&remote{p.URL()}).Conn(t)
	v := newRecorder()
	p.CutAfter(200_000) // of about 500 kB that the replay has
	r := reflect(t, ReflectorConfig{Bucket: Open(nc, b.name, prov()), View: v})
	fleettest.Eventually(t, soon, "synced after the cut", func() bool { return r.Synced() && equal(t, v, b) })
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.begun) < 2 || len(v.synced) != 1 {
		t.Errorf("%d passes began and %d were synced: the cut was not mid-replay", len(v.begun), len(v.synced))
	}
	if len(v.atSync[0]) != 5000 {
		t.Errorf("synced with %d keys", len(v.atSync[0]))
	}
}

func TestReflector_BlackHole(t *testing.T) {
	srv := fleettest.NATS(t)
	b := ensured(t, srv.Conn(t), fleet.BucketDeviceState, prov())
	p := proxy.New(t, srv.URL())
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: Open((&remote{p.URL()}).Conn(t), b.name, prov()), View: v})
	fleettest.Eventually(t, soon, "synced", r.Synced)
	p.Swallow(true)
	put(t, b, "state.pi-01.web", "v")
	fleettest.Eventually(t, soon, "the silence is noticed", func() bool { return !r.Synced() })
	p.Swallow(false)
	fleettest.Eventually(t, soon, "synced again, nothing missing", func() bool { return r.Synced() && equal(t, v, b) })
}

func TestReflector_SnapshotIsCompleteUnderWrites(t *testing.T) {
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			nc := conn.Conn(t)
			b := ensured(t, nc, fleet.BucketDeviceState, conn.prov)
			const keys = 2000
			fill(t, b, "k", keys)
			// Writers go over all keys again and again: each is live at any moment.
			stop := background(t, func(ctx context.Context) {
				js, err := conn.Conn(t).JetStream(nats.PublishAsyncMaxPending(512))
				if err != nil {
					t.Error(err)
					return
				}
				for i := 0; ctx.Err() == nil; i++ {
					_, _ = js.PublishAsync(fleet.KeySubject(b.name, fmt.Sprintf("k%d", i%keys)), nil, nats.StallWait(time.Second))
				}
			})
			for range 5 {
				v := newRecorder()
				ctx, cancel := context.WithCancel(t.Context())
				r := NewReflector(ReflectorConfig{Bucket: Open(nc, b.name, conn.prov), View: v})
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				fleettest.Eventually(t, soon, "synced", r.Synced)
				cancel()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if n := len(v.atSync[0]); n != keys {
					t.Errorf("synced with %d of %d keys", n, keys)
				}
			}
			stop()
		})
	}
}

func TestReflector_Filter(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketResources, prov())
	last := put(t, b, "device.pi-01", "d")
	put(t, b, "deployment.web", "w")
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: b, View: v, Filter: []string{"device.*"}, Poll: 100 * time.Millisecond})
	if err := r.WaitSeq(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if got := v.snapshot(); len(got) != 1 || got["device.pi-01"] != "d" {
		t.Fatalf("view %v", got)
	}
	last = put(t, b, "device.pi-02", "d")
	if err := r.WaitSeq(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	purge(t, b, "device.pi-01")
	fleettest.Eventually(t, soon, "the purge is noticed", func() bool { return len(v.snapshot()) == 1 })
	passes := v.passes()
	for range 20 { // other keys do not disturb
		put(t, b, "deployment.web", "w")
	}
	last = put(t, b, "device.pi-03", "d")
	if err := r.WaitSeq(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if v.passes() != passes {
		t.Errorf("%d passes, before %d", v.passes(), passes)
	}
}

func TestReflector_OperationsOfAMessage(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketResources, prov())
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: b, View: v})
	fleettest.Eventually(t, soon, "synced", r.Synced)
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(b.name)
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "device.a", "1")
	put(t, b, "device.b", "1")
	if err := bucket.Delete("device.a"); err != nil {
		t.Fatal(err)
	}
	if err := bucket.Purge("device.b"); err != nil {
		t.Fatal(err)
	}
	h := nats.Header{}
	h.Set(headerTTL, "1s")
	h.Set(fleet.HeaderEpoch, "17")
	if _, err := b.Put(t.Context(), "device.c", []byte("1"), h); err != nil {
		t.Fatal(err)
	}
	for key, op := range map[string]Op{"device.a": Delete, "device.b": Purge, "device.c": Expired} {
		fleettest.Eventually(t, soon, key+" is "+op.String(), func() bool {
			v.mu.Lock()
			defer v.mu.Unlock()
			return v.last[key] == op
		})
	}
	if n := r.Source().Entries; n != 0 {
		t.Errorf("%d entries", n)
	}
	if v.passes() != 1 {
		t.Errorf("%d passes: an expiry is no violation", v.passes())
	}
}

func TestReflector_ConsumersAreBounded(t *testing.T) {
	srv := fleettest.NATS(t)
	direct := srv.Conn(t)
	b := ensured(t, direct, fleet.BucketDeviceState, prov())
	p := proxy.New(t, srv.URL())
	nc := (&remote{p.URL()}).Conn(t)
	v := newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	r := NewReflector(ReflectorConfig{Bucket: Open(nc, b.name, prov()), View: v})
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for i := range 20 {
		fleettest.Eventually(t, soon, "synced", func() bool { return v.passes() > i && r.Synced() })
		p.Cut()
		fleettest.Eventually(t, soon, "the cut is noticed", func() bool { return !r.Synced() || v.passes() > i+1 })
	}
	fleettest.Eventually(t, soon, "synced at last", r.Synced)
	fleettest.Eventually(t, soon, "one consumer is left", func() bool { return len(consumers(t, b)) <= 1 })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	if left := consumers(t, b); len(left) != 0 {
		t.Errorf("consumers left at the end: %v", left)
	}
}

func TestReflector_WaitSeqEndsWithThePass(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	r := reflect(t, ReflectorConfig{Bucket: b, View: newRecorder()})
	fleettest.Eventually(t, soon, "synced", r.Synced)
	far := r.Pass().Barrier + 1_000_000
	errs := make(chan error, 1)
	go func() { errs <- r.WaitSeq(t.Context(), far) }()
	fleettest.Eventually(t, soon, "somebody waits", func() bool {
		r.progress.mu.Lock()
		defer r.progress.mu.Unlock()
		return r.progress.changed != nil
	})
	deleteConsumers(t, b)
	if err := <-errs; !errors.Is(err, ErrPassEnded) {
		t.Errorf("wait: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.WaitSeq(ctx, far); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait with a deadline: %v", err)
	}
}

func TestReflector_NeverGivesUp(t *testing.T) {
	srv := fleettest.NATS(t)
	nc := srv.Conn(t)
	srv.Shutdown()
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: Open(nc, fleet.BucketDeviceState, prov()), Own: true, View: v})
	fleettest.Eventually(t, soon, "the reason is the connection", func() bool {
		return strings.Contains(r.Source().Reason, "no connection")
	})
	srv.Start()
	fleettest.Eventually(t, soon, "synced", r.Synced)
}

// onNth returns a function that calls f in its nth call.
func onNth(n int, f func()) func(Message) {
	calls := 0
	return func(Message) {
		if calls++; calls == n {
			f()
		}
	}
}

func await(t testing.TB, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(soon):
		t.Fatalf("not within %s: %s", soon, what)
	}
}

// The view alone does not know that it is behind: the server does.
func TestReflector_CatchUp(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := ensured(t, nc, fleet.BucketDeviceState, prov())
	v := newRecorder()
	behind := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(behind) })
	t.Cleanup(goOn)
	v.onApply = func(Message) { <-behind }
	r := reflect(t, ReflectorConfig{Bucket: b, View: v})
	fleettest.Eventually(t, soon, "synced", r.Synced)
	put(t, b, "state.pi", "v")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := r.CatchUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the view is behind: %v", err)
	}
	goOn()
	if err := r.CatchUp(t.Context()); err != nil {
		t.Errorf("then: %v", err)
	}
	deleteStream(t, b)
	ensured(t, nc, b.name, b.prov) // perhaps not at once: the server may still remove the files of the old one
	if err := r.CatchUp(t.Context()); err != nil && !errors.Is(err, ErrPassEnded) {
		t.Errorf("on a new stream: %v", err)
	}
	if info, err := b.info(t.Context()); err != nil || r.CatchUp(t.Context()) == nil && !r.Pass().Created.Equal(info.Created) {
		t.Errorf("caught up with a stream that is not in view (%v)", err)
	}
}
