package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// spoiledWishes are desired-state values that nobody may obey. Own ones carry the epoch of a reconciler: an
// older version wrote them, or a broken one.
func spoiledWishes(good string) []struct {
	name, value string
	own         bool
} {
	hostile := strings.Replace(good, "demo:1", "evil:1", 1)
	return []struct {
		name, value string
		own         bool
	}{
		{"malformed", good[:len(good)/2], true},
		{"older format", `{"deployment":"web","version":1,"spec":{"image":"demo:0"}}`, true},
		{"empty", "", true},
		{"not UTF-8", strings.Replace(good, "demo:1", "demo\xff\xfe", 1), true},
		{"deeply nested", nested(500), true},
		{"without an epoch", hostile, false},
	}
}

// Fault:   malformed and older-format values under the keys of desired-state, and under the reconciler's own
// records: first while all services work, then while all are down.
// Promise: each is rewritten once by the next plan, and no other key is; nobody acts on it before: no
// agent runs it, no snapshot holds it, no status counts it.
// Budget:  rewritten within 5 s, and within 10 s of the start of the reconciler.
// Found:   -
func TestR12_MalformedDesiredState(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	services := s.StartServices()
	s.StartDevices(12)
	registered(t, s, 12)
	s.API.Apply(deployment("web", region("north", "east")))
	s.API.Apply(deployment("other", region("south")))
	settled(t, s, "web", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "other", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	s.WaitReady(len(services))
	before := s.AtRest()
	good := map[string]string{}
	entries, err := s.NATS.Entries(t.Context(), fleet.BucketDesiredState)
	if err != nil {
		t.Fatal(err)
	}
	for key, e := range entries {
		good[key] = e.Value
	}
	keys := func(suffix string) []string {
		return slices.Sorted(maps.Keys(only(before.Keys[fleet.BucketDesiredState], func(key string) bool { return strings.HasSuffix(key, suffix) })))
	}
	web := keys(".web")
	wishes := spoiledWishes(good[web[0]])
	if len(web) != len(wishes) {
		t.Fatalf("%d keys of web, want %d", len(web), len(wishes))
	}
	record := fleet.AppliedKey("other")
	// Agents can read this one: what must not happen is that it stays.
	respelled := keys(".other")[0]
	spoil := func() (all []*fault.RawWrite) {
		epoch := s.Epoch(fleet.BucketDesiredState)
		for i, w := range wishes {
			f := &fault.RawWrite{Bucket: fleet.BucketDesiredState, Key: web[i], Value: w.value}
			if w.own {
				f.Epoch = epoch
			}
			all = append(all, f)
		}
		return append(all,
			&fault.RawWrite{Bucket: fleet.BucketDesiredState, Key: respelled, Value: strings.Replace(good[respelled], ",", " , ", 1), Epoch: epoch},
			&fault.RawWrite{Bucket: fleet.BucketDesiredState, Key: record, Value: `{"generation":"1"}`, Epoch: epoch})
	}
	desired := follow(s, fleet.BucketDesiredState)
	reports := follow(s, fleet.BucketDeviceState)
	statuses := map[string]*lab.Statuses{"web": s.API.RecordStatuses("web"), "other": s.API.RecordStatuses("other")}
	snapshots := askSnapshots(s, web)

	var faults []*fault.RawWrite
	t.Run("while all work", func(t *testing.T) {
		var slowest time.Duration
		for _, f := range spoil() {
			faults = append(faults, f)
			began := time.Now()
			fault.Inject(s, f)
			s.Eventually(10*time.Second, f.Key+" rewritten", func(ctx context.Context) error {
				return desired.rewritten(f, good)
			})
			slowest = max(slowest, time.Since(began))
		}
		s.Measured("a malformed value rewritten by a working reconciler, the slowest", slowest, 5*time.Second)
		settled(t, s, "web", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
		settled(t, s, "other", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	})

	t.Run("while all are down", func(t *testing.T) {
		fault.Inject(s, fault.Kill(services))
		all := spoil()
		aside := map[string]bool{}
		for _, f := range all {
			fault.Inject(s, f)
			aside[f.Key] = f.Key == record // said of any record
		}
		delete(aside, respelled)
		var reconciler []*lab.Instance
		for _, i := range services {
			if i.Service() == fleet.ServiceReconciler {
				reconciler = append(reconciler, i)
			} else {
				fault.Heal(s, fault.Kill{i})
			}
		}
		// Nobody is there to rewrite them: they are shown, and count as pending.
		setAside(t, s, fleet.ServiceAggregator, fleet.BucketDesiredState, aside)
		settled(t, s, "web", counts(6, 0, 0, 6, 0), fleet.ConditionFalse)

		began := time.Now()
		fault.Heal(s, fault.Kill(reconciler))
		for _, f := range all {
			s.Eventually(20*time.Second, f.Key+" rewritten", func(ctx context.Context) error {
				return desired.rewritten(f, good)
			})
		}
		s.Measured("all malformed values rewritten after the start of the reconciler", time.Since(began), 10*time.Second)
		settled(t, s, "web", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
		settled(t, s, "other", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
		s.WaitReady(len(services))
		setAside(t, s, fleet.ServiceAggregator, fleet.BucketDesiredState, map[string]bool{})
		for _, f := range all {
			if err := desired.rewritten(f, good); err != nil {
				t.Errorf("%s: %v", f.Key, err)
			}
		}
		faults = append(faults, all...)
	})

	after := s.AtRest()
	for key, e := range after.Keys[fleet.BucketDesiredState] {
		spoiled := slices.Contains(web, key) || key == respelled
		if was := before.Keys[fleet.BucketDesiredState][key]; e.Value != was.Value || !spoiled && e != was {
			t.Errorf("%s became %v, it was %v", key, e, was)
		}
	}
	snapshots.end(t, good)
	unread(t, reports, slices.DeleteFunc(faults, func(f *fault.RawWrite) bool { return f.Key == respelled }))
	for name, all := range statuses {
		for _, status := range all.All() {
			if a := status.Aggregate; a.Failed != 0 || a.LastError != nil || a.Running+a.Pending != a.MatchedDeviceCount {
				t.Errorf("a status of %s counted what an agent said of a spoiled value: %+v", name, a)
			}
		}
	}
}

// unread checks that no agent ran a spoiled value.
func unread(t *testing.T, reports *tail, spoiled []*fault.RawWrite) {
	t.Helper()
	hashes := map[string]string{}
	for _, f := range spoiled {
		hashes[fleet.Hash([]byte(f.Value))] = f.Key
	}
	for _, op := range reports.all("") {
		r, err := fleet.DecodeReport([]byte(op.value))
		if err != nil {
			continue
		}
		if key, ok := hashes[r.ObservedHash]; ok && r.Phase == fleet.PhaseRunning {
			t.Errorf("%s says that it runs the spoiled value of %s", op.key, key)
		}
	}
}

// tail is every operation on a bucket since it was made.
type tail struct {
	mu  sync.Mutex
	ops []operation
}

type operation struct {
	key      string
	revision uint64
	value    string
	epoch    uint64
	delete   bool
}

// follow starts to read a bucket, until the test ends.
func follow(s *lab.Stack, bucket string) *tail {
	s.T().Helper()
	js := s.NATS.JetStream()
	consumer, err := js.CreateConsumer(s.T().Context(), fleet.StreamName(bucket), jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		s.T().Fatalf("follow %s: %v", bucket, err)
	}
	f := &tail{}
	reading, err := consumer.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			return
		}
		key, _ := fleet.SubjectKey(bucket, m.Subject())
		op := operation{key: key, revision: meta.Sequence.Stream, value: string(m.Data()), delete: m.Headers().Get("KV-Operation") != ""}
		op.epoch, _ = fleet.ParseEpoch(m.Headers().Get(fleet.HeaderEpoch))
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ops = append(f.ops, op)
	})
	if err != nil {
		s.T().Fatalf("follow %s: %v", bucket, err)
	}
	s.T().Cleanup(func() {
		reading.Stop()
		_ = js.DeleteConsumer(context.Background(), fleet.StreamName(bucket), consumer.CachedInfo().Name)
	})
	return f
}

// all returns the operations on a key, or on all for "".
func (f *tail) all(key string) (out []operation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, op := range f.ops {
		if key == "" || op.key == key {
			out = append(out, op)
		}
	}
	return out
}

// rewritten returns an error unless the reconciler has written a key once since it was spoiled, with the value
// that was there before.
func (f *tail) rewritten(spoiled *fault.RawWrite, good map[string]string) error {
	var since []operation
	for _, op := range f.all(spoiled.Key) {
		if op.revision > spoiled.Revision {
			since = append(since, op)
		}
	}
	if len(since) != 1 || since[0].delete || since[0].epoch == 0 || since[0].value != good[spoiled.Key] {
		return fmt.Errorf("operations since: %+v", since)
	}
	return nil
}

// snapshots asks for the desired state of devices again and again, as their agents do.
type snapshots struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	seen   map[string]map[string]int // values that were handed out, by key
}

func askSnapshots(s *lab.Stack, keys []string) *snapshots {
	ctx, cancel := context.WithCancel(s.T().Context())
	q := &snapshots{cancel: cancel, seen: map[string]map[string]int{}}
	q.done.Go(func() {
		for ctx.Err() == nil {
			for _, key := range keys {
				pair, err := fleet.ParseDesiredKey(key)
				if err != nil {
					continue
				}
				q.ask(ctx, s, pair.Device)
			}
		}
	})
	return q
}

func (q *snapshots) ask(ctx context.Context, s *lab.Stack, device fleet.DeviceID) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m, err := s.Conn().RequestWithContext(ctx, fleet.DesiredSubject(device), []byte(`{}`))
	var page fleet.Snapshot
	if err != nil || json.Unmarshal(m.Data, &page) != nil {
		return // nobody answers now, or not with a snapshot
	}
	for _, e := range page.Entries {
		key := fleet.DesiredKey(fleet.Pair{Device: device, Deployment: e.Deployment})
		if q.seen[key] == nil {
			q.seen[key] = map[string]int{}
		}
		q.seen[key][string(e.Value)]++
	}
}

// end checks that nothing but the good values was handed out.
func (q *snapshots) end(t *testing.T, good map[string]string) {
	t.Helper()
	q.cancel()
	q.done.Wait()
	for key, values := range q.seen {
		for value, n := range values {
			if value != good[key] {
				t.Errorf("%d snapshots had %q for %s", n, value, key)
			}
		}
	}
	if len(q.seen) == 0 {
		t.Error("no snapshot was handed out")
	}
}
