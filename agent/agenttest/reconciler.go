// Package agenttest helps to test agents: a stand-in for the reconciler on a real server.
package agenttest

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
)

// Wait bounds what happens at once on an idle machine.
const Wait = 20 * time.Second

// PageSize is how many entries a page of a snapshot has.
const PageSize = 2

// Reconciler writes desired-state and answers snapshot requests.
type Reconciler struct {
	t      testing.TB
	bucket *kv.Bucket

	mu      sync.Mutex
	values  map[fleet.DeviceID]map[fleet.DeploymentName]fleet.SnapshotEntry
	asOf    uint64
	answers Answers
	counts  Counts
}

// Answers is how requests are answered.
type Answers struct {
	Code       fleet.Code // not 0: with this error
	Incomplete bool
}

// Counts is what was asked so far.
type Counts struct {
	Asked     int
	Unchanged int // requests whose digest matched
}

// NewReconciler creates desired-state and answers until the test ends.
func NewReconciler(t testing.TB, nc *nats.Conn) *Reconciler {
	t.Helper()
	r := &Reconciler{
		t: t, bucket: ensure(t, nc, fleet.BucketDesiredState),
		values: map[fleet.DeviceID]map[fleet.DeploymentName]fleet.SnapshotEntry{},
	}
	r.write(fleet.KeyEpoch, []byte("{}"), nil)
	sub, err := rpc.Subscribe(nc, fleet.DesiredSubjects, rpc.Config{Service: "agenttest", Log: slog.New(slog.DiscardHandler)}, r.answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), Wait)
		defer cancel()
		if err := sub.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *Reconciler) answer(_ context.Context, subject string, req fleet.SnapshotRequest) (fleet.Snapshot, error) {
	device, err := fleet.ParseDesiredSubject(subject)
	if err != nil {
		return fleet.Snapshot{}, fleet.Errorf(fleet.CodeInvalid, "Invalid", "%s", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Asked++
	if r.answers.Code != 0 {
		return fleet.Snapshot{}, fleet.Errorf(r.answers.Code, "Test", "the test says so")
	}
	s := fleet.Snapshot{AsOf: r.asOf, Complete: !r.answers.Incomplete}
	entries := r.of(device)
	hashes := map[fleet.DeploymentName]string{}
	for _, e := range entries {
		hashes[e.Deployment] = fleet.Hash(e.Value)
	}
	if req.Digest == fleet.Digest(hashes) {
		r.counts.Unchanged++
		s.Unchanged = true
		return s, nil
	}
	s.Entries = slices.DeleteFunc(entries, func(e fleet.SnapshotEntry) bool { return e.Deployment <= req.After })
	if len(s.Entries) > PageSize {
		s.Entries = s.Entries[:PageSize]
		s.Next = s.Entries[PageSize-1].Deployment
	}
	return s, nil
}

// of returns the entries of a device, sorted.
func (r *Reconciler) of(device fleet.DeviceID) []fleet.SnapshotEntry {
	return slices.SortedFunc(maps.Values(r.values[device]), func(a, b fleet.SnapshotEntry) int {
		return cmp.Compare(a.Deployment, b.Deployment)
	})
}

// Answer changes how requests are answered.
func (r *Reconciler) Answer(a Answers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = a
}

// Counts returns what was asked so far.
func (r *Reconciler) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// Put makes a device run a text with a score of type "test", and returns the hash of the value.
func (r *Reconciler) Put(p fleet.Pair, text string) string {
	r.t.Helper()
	return r.PutScore(p, fleet.Score{Type: "test", Data: json.RawMessage(strconv.Quote(text))})
}

// PutScore makes a device run a score.
func (r *Reconciler) PutScore(p fleet.Pair, s fleet.Score) string {
	r.t.Helper()
	value, err := fleet.EncodeDesired(fleet.Desired{UID: "u", Score: s})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.PutValue(p, value)
}

// PutValue writes a value as it is.
func (r *Reconciler) PutValue(p fleet.Pair, value []byte) string {
	r.t.Helper()
	seq := r.write(fleet.DesiredKey(p), value, nats.Header{fleet.HeaderEpoch: {"7"}})
	return r.Tell(p, value, seq)
}

// Tell puts a value into the snapshots, as if it had been written as seq.
func (r *Reconciler) Tell(p fleet.Pair, value []byte, seq uint64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.values[p.Device] == nil {
		r.values[p.Device] = map[fleet.DeploymentName]fleet.SnapshotEntry{}
	}
	r.values[p.Device][p.Deployment] = fleet.SnapshotEntry{Deployment: p.Deployment, Sequence: seq, Value: value}
	return fleet.Hash(value)
}

// Delete deletes a key.
func (r *Reconciler) Delete(p fleet.Pair) {
	r.t.Helper()
	r.write(fleet.DesiredKey(p), nil, nats.Header{fleet.HeaderEpoch: {"7"}, "KV-Operation": {"DEL"}})
	r.Forget(p)
}

// DeleteByHand deletes a key as somebody else would.
func (r *Reconciler) DeleteByHand(p fleet.Pair) {
	r.t.Helper()
	r.write(fleet.DesiredKey(p), nil, nats.Header{"KV-Operation": {"DEL"}})
}

// Forget takes a key out of the snapshots, without a word.
func (r *Reconciler) Forget(p fleet.Pair) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.values[p.Device], p.Deployment)
}

func (r *Reconciler) write(key string, value []byte, h nats.Header) uint64 {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), Wait)
	defer cancel()
	seq, err := r.bucket.Put(ctx, key, value, h)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asOf = max(r.asOf, seq)
	return seq
}

func ensure(t testing.TB, nc *nats.Conn, name string) *kv.Bucket {
	t.Helper()
	b := kv.Open(nc, name, kv.Provisioning{Fleet: "fleet", Replicas: 1, Storage: kv.File})
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}
