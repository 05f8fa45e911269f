package scenarios

import (
	"context"
	"fmt"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   each of two replicas is replaced as a rolling update with surge does: the new one starts beside
// the old ones, then one of those goes.
// Promise: the new one becomes ready beside them, and nothing is written but keys that begin with "_".
// Budget:  each step within 60 s.
// Found:   -
func TestRolling_TwoReplicasOfEach(t *testing.T) {
	s := lab.New(t, lab.Options{})
	replicas := map[string][]*lab.Instance{}
	for range 2 {
		for _, name := range fleet.Services() {
			replicas[name] = append(replicas[name], s.Start(name))
		}
	}
	s.WaitReady(6)
	s.StartDevices(8)
	registered(t, s, 8)
	s.API.Apply(deployment("web", region("north", "east")))
	settled(t, s, "web", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest()

	for range 2 {
		for _, name := range fleet.Services() {
			surge := s.Start(name)
			s.WaitReady(7)
			replicas[name][0].Stop()
			replicas[name] = append(replicas[name][1:], surge)
			s.WaitReady(6)
		}
	}
	if d := lab.Difference(before, s.AtRest()); len(d) > 0 {
		t.Errorf("the rolling update changed something: %q", d)
	}
}

// Fault:   SIGSTOP of the reconciler that holds the lease, past its lease; SIGCONT once the other works.
// Promise: the other takes over; the first stands by and changes nothing. (That the server refuses what the
// first may still have under way is shown in services/reconciler, where packets can be held back.)
// Budget:  20 s.
// Found:   -
func TestRolling_PausedHolderIsDeposed(t *testing.T) {
	s := lab.New(t, lab.Options{})
	s.StartServices()
	s.StartDevices(8)
	registered(t, s, 8)
	second := s.Start(fleet.ServiceReconciler)
	s.WaitReady(4)
	s.API.Apply(deployment("web", region("north")))
	settled(t, s, "web", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)

	first := s.Holder(fleet.ServiceReconciler)
	if first == second {
		t.Fatal("the second replica holds the lease while the first is alive")
	}
	epoch := s.Epoch(fleet.BucketDesiredState)
	first.Pause()
	s.API.Apply(deployment("web", region("north", "east")))
	settled(t, s, "web", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	if now := s.Epoch(fleet.BucketDesiredState); now <= epoch {
		t.Errorf("the epoch is %d after the takeover, it was %d", now, epoch)
	}
	before := s.AtRest()
	first.Continue()
	s.Eventually(20*time.Second, "the paused one to stand by", func(ctx context.Context) error {
		for _, h := range s.Health(ctx) {
			if h.Instance == first.ID() && h.Ready && h.Lease != nil && !h.Lease.Held {
				return nil
			}
		}
		return fmt.Errorf("%s is not standing by", first.ID())
	})
	if d := lab.Difference(before, s.AtRest()); len(d) > 0 {
		t.Errorf("the deposed holder changed something: %q", d)
	}
}
