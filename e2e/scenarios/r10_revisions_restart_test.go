package scenarios

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   the stream of each bucket in turn is created again by hand with revisions that begin years below
// all that was ever seen, as after a clock was wrong.
// Promise: nothing that was known by revision is held against it: the loss is noticed, what was lost is
// written again, and later changes reach the devices and the status, also under another holder.
// Budget:  noticed within 5 s, corrected within 10 s.
// Found:   -
func TestR10_RevisionsRestartLower(t *testing.T) {
	t.Parallel()
	const first = 1_600_000_000_000_000 // September 2020
	s := smallFleet(t, lab.Options{})
	l := newLosing(t, s, 12)
	for _, bucket := range buckets {
		l.lose(fault.StreamRecreate{Buckets: []string{bucket}, FirstSeq: first}, bucket)
		if r := lastSequence(t, s, bucket); r < first || r > first+1e6 {
			t.Fatalf("%s was not created as the fault says: it is at %d", bucket, r)
		}
	}

	s.API.Apply(deployment("coast", region("west")))
	settled(t, s, "coast", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	holder := s.Holder(fleet.ServiceReconciler)
	fault.Inject(s, fault.Kill{holder})
	start := time.Now()
	fault.Heal(s, fault.Kill{holder})
	s.API.Apply(deployment("more", region("north")))
	settled(t, s, "more", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	s.Measured("a change after the restart of the reconciler", time.Since(start), 15*time.Second)
	s.WaitReady(3)
	if n := len(s.AtRest().Keys[fleet.BucketDesiredState]); n != 9 {
		t.Errorf("%d desired keys, want 9", n)
	}
}

// Fault:   the stream of a bucket is created again by hand with sequences from 1, just below 2^63, or near the
// end of uint64. A fencing token of the old stream could be valid on the first; with the others a server that
// stores in files cannot work (in memory it can, which is tested in fleet/kv).
// Promise: its owner says so and writes nothing there, without overflow; no workload is torn down. Deleted, it is
// created as it must be.
// Budget:  noticed within 5 s, corrected within 10 s of the deletion.
// Found:   a stream in files with sequences beyond 2^62 was taken for good: its owner took the lease again and
// again, could never write, and the server soon gave no answer any more.
func TestR10_RevisionsWithoutFence(t *testing.T) {
	t.Parallel()
	s := smallFleet(t, lab.Options{})
	l := newLosing(t, s, 12)
	for _, c := range []struct {
		bucket string
		owner  string
		first  uint64
	}{
		{fleet.BucketDesiredState, fleet.ServiceReconciler, 1},
		{fleet.BucketResources, fleet.ServicePatcher, 1},
		{fleet.BucketDesiredState, fleet.ServiceReconciler, 1<<63 - 10},
		{fleet.BucketResources, fleet.ServicePatcher, math.MaxUint64 - 1e6},
	} {
		f := fault.StreamRecreate{Buckets: []string{c.bucket}, FirstSeq: c.first}
		fault.Inject(s, f)
		start := time.Now()
		s.Eventually(30*time.Second, c.bucket+" refused by "+c.owner, func(ctx context.Context) error {
			for _, h := range s.Health(ctx) {
				for _, r := range h.Reasons {
					if h.Service == c.owner && h.State == fleet.StateDegraded && strings.Contains(r.Message, fmt.Sprintf("first_seq is %d", c.first)) {
						return nil
					}
				}
			}
			return fmt.Errorf("%+v", s.Health(ctx))
		})
		s.Measured(f.Name()+" "+c.bucket+": reported", time.Since(start), noticedWithin)
		if r := lastSequence(t, s, c.bucket); r != c.first-1 {
			t.Errorf("%s was written in spite of that: it is at %d", c.bucket, r)
		}
		l.lose(fault.StreamDelete(c.bucket), c.bucket)
	}
}

func lastSequence(t *testing.T, s *lab.Stack, bucket string) uint64 {
	t.Helper()
	stream, err := s.NATS.JetStream().Stream(t.Context(), fleet.StreamName(bucket))
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}
