package scenarios

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   a service starts, and its connections to NATS are cut several times while it reads a bucket, the
// last time after a stand-still in which it has half a view; the NATS server is killed (SIGKILL) meanwhile.
// Promise: the projection equals a direct read of the streams; nothing derived from a half view was ever
// written: no status, no desired state, no mirror entry.
// Budget:  ready and correct within 20 s of the last cut, within 30 s of the server's return.
// Found:   -
func TestR08_CutReplay(t *testing.T) {
	t.Parallel()
	r := newReplays(t)
	for _, c := range []struct{ service, bucket string }{
		{fleet.ServiceAggregator, fleet.BucketDeviceState},
		{fleet.ServiceAggregator, fleet.BucketDesiredState},
		{fleet.ServiceReconciler, fleet.BucketResources},
		{fleet.ServicePatcher, fleet.BucketResources},
	} {
		t.Run(strings.TrimPrefix(c.service, "fleet-")+" reads "+c.bucket, func(t *testing.T) { r.cut(t, c.service, c.bucket) })
	}
	for _, c := range []struct{ service, bucket string }{
		{fleet.ServiceAggregator, fleet.BucketDeviceState},
		{fleet.ServiceReconciler, fleet.BucketDesiredState},
	} {
		t.Run("server killed while "+strings.TrimPrefix(c.service, "fleet-")+" reads "+c.bucket, func(t *testing.T) { r.kill(t, c.service, c.bucket) })
	}
	r.API.Apply(deployment("app-1", region("north", "south")))
	r.Eventually(20*time.Second, "the work to go on", func(ctx context.Context) error {
		if n := r.counts(t, "app-1"); n[0] != replayDevices/2+replayShelf {
			return fmt.Errorf("app-1 has the counts %v", n)
		}
		return folded(ctx, r.Stack)
	})
	r.AtRest()
}

// The fleet of R08: enough for a replay that comes in many pieces.
const (
	replayDevices = 60
	replayShelf   = 2 // registered by hand, never heard of
)

// replays is a stack whose services are interrupted while they read.
type replays struct {
	*lab.Stack
	rng      *rand.Rand
	services map[string]*lab.Instance
}

func newReplays(t *testing.T) *replays {
	seed := lab.Seed(t)
	r := &replays{Stack: lab.New(t, lab.Options{}), rng: rand.New(rand.NewPCG(seed, 8)), services: map[string]*lab.Instance{}}
	for _, i := range r.StartServices() {
		r.services[i.Service()] = i
	}
	for i := range replayShelf {
		r.API.CreateDevice(fmt.Sprintf("shelf-%d", i), map[string]string{"region": "north"})
	}
	r.StartDevices(replayDevices, "--fail-rate", "0.2", "--delay", "0s..50ms")
	registered(t, r.Stack, replayDevices+replayShelf)
	for i := range 4 {
		r.API.Apply(deployment(fmt.Sprintf("app-%d", i), region("north", "east", "south", "west")))
	}
	r.Eventually(30*time.Second, "everything to be reported and counted", func(ctx context.Context) error {
		for i := range 4 {
			n := r.counts(t, fmt.Sprintf("app-%d", i))
			if n[0] != replayDevices+replayShelf || n[1] == 0 || n[2] == 0 || n[3] != replayShelf {
				return fmt.Errorf("app-%d has the counts %v", i, n)
			}
		}
		return folded(ctx, r.Stack)
	})
	return r
}

// counts are those of a Deployment by the streams alone.
func (r *replays) counts(t *testing.T, name string) [5]int {
	t.Helper()
	f, err := foldOf(t.Context(), r.Stack)
	if err != nil {
		t.Fatalf("read the streams: %v", err)
	}
	return f.counts[name]
}

// cut interrupts a service several times while it reads a bucket.
func (r *replays) cut(t *testing.T, service, bucket string) {
	r.WaitReady(3)
	before := r.AtRest()
	i, keys := r.services[service], len(before.Keys[bucket])
	f := fault.ReplayCut{Instance: i, Bucket: bucket, Still: 1500 * time.Millisecond}
	for range 4 {
		f.After = append(f.After, keys/4+r.rng.IntN(keys/2))
	}
	var half fleet.Health
	var err error
	f.Look = func() { half, err = i.Probe(t.Context()) }
	r.Steady(func() {
		i.Stop()
		fault.Inject(r.Stack, f)
		healed := time.Now()
		fault.Heal(r.Stack, f)
		if src := sourceOf(half, bucket); err != nil || half.Ready || src.Synced || src.Done == 0 || src.Done >= uint64(keys) {
			t.Errorf("no half view of %d keys before the last cut: %+v (%v)", keys, half, err)
		}
		r.WaitReady(3)
		r.Measured(fmt.Sprintf("ready after a cut replay of %s by %s", bucket, service), time.Since(healed), 20*time.Second)
		r.same(t, before, before.Keys)
	})
	again, err := i.Probe(t.Context())
	if src := sourceOf(again, bucket); err != nil || src.Pass <= uint64(len(f.After)) {
		t.Errorf("%s was read %d times with %d cuts (%v)", bucket, src.Pass, len(f.After), err)
	}
}

// kill ends the server while a service reads a bucket. Agents then say everything again: what they write
// may have other revisions afterwards.
func (r *replays) kill(t *testing.T, service, bucket string) {
	r.WaitReady(3)
	before := r.AtRest()
	i, keys := r.services[service], len(before.Keys[bucket])
	f := fault.ReplayKill{Instance: i, Bucket: bucket, After: keys/4 + r.rng.IntN(keys/2)}
	i.Stop()
	fault.Inject(r.Stack, f)
	fault.Heal(r.Stack, f)
	healed := time.Now()
	r.WaitReady(3)
	r.Measured(fmt.Sprintf("ready after the server was killed while %s read %s", service, bucket), time.Since(healed), 30*time.Second)
	r.same(t, before, map[string]map[string]lab.Entry{
		fleet.BucketDesiredState: before.Keys[fleet.BucketDesiredState],
		fleet.BucketResources:    before.Keys[fleet.BucketResources],
	})
}

// same checks that these keys and all resources are as before, and that the projection is the fold of the
// streams.
func (r *replays) same(t *testing.T, before lab.Picture, keys map[string]map[string]lab.Entry) {
	t.Helper()
	before.Keys = keys
	if d := lab.Difference(before, r.AtRest()); len(d) > 0 {
		t.Errorf("something was written: %q", d)
	}
	r.Eventually(20*time.Second, "the projection to be the fold of the streams", func(ctx context.Context) error { return folded(ctx, r.Stack) })
}

func sourceOf(h fleet.Health, name string) fleet.Source {
	for _, s := range h.Sources {
		if s.Name == name {
			return s
		}
	}
	return fleet.Source{}
}
