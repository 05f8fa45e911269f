package scenarios

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// Fault:   keys of the mirror are deleted by hand, with a marker or without a trace, while the patcher works,
// and again while it is dead and the reconciler starts anew and knows nothing else; an old backup of the
// mirror's stream is restored, with the patcher alive and with it dead.
// Promise: nothing is torn down and no key is rewritten: not one write to desired-state but to its records.
// The patcher repairs the mirror.
// Budget:  repaired within 30 s of the fault, or of the patcher's return.
// Found:   a spec that came back by an old backup of the mirror was put on the devices after the quiet time
// although no patcher stood behind it.
func TestR22_MirrorByHand(t *testing.T) {
	t.Parallel()
	s := newBraked(t, lab.Options{}, 1)
	patcher, reconciler := s.Instances(fleet.ServicePatcher)[0], s.reconcilers[0]
	s.StartDevices(12, quickDevices...)
	registered(t, s.Stack, 12)
	s.API.Apply(deployment("all", fleet.Selector{}))
	s.API.Apply(deployment("web", region("north")))
	s.API.Apply(deployment("tuned", region("south")))
	settled(t, s.Stack, "all", counts(12, 12, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s.Stack, "tuned", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s.Stack, "web", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	s.AtRest()
	s.NATS.Kill()
	old := fault.StoreRollback{Buckets: []string{fleet.BucketResources}, Backup: s.NATS.Backup()}
	s.NATS.Start()
	s.WaitReady(3)
	tuned := deployment("tuned", region("south"))
	tuned.Score.Data = []byte(`{"image":"demo:2"}`)
	s.API.Apply(tuned)
	s.API.Apply(deployment("web", region("north", "east")))
	s.API.Apply(deployment("late", region("south", "west")))
	s.API.CreateDevice("shelf", map[string]string{"region": "north"})
	settled(t, s.Stack, "all", counts(13, 12, 0, 1, 0), fleet.ConditionFalse)
	settled(t, s.Stack, "tuned", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s.Stack, "web", counts(7, 6, 0, 1, 0), fleet.ConditionFalse)
	settled(t, s.Stack, "late", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest()
	desired := before.Keys[fleet.BucketDesiredState]

	marked := fault.LostKeys{Bucket: fleet.BucketResources, Keys: []string{"deployment.web", "device.dev-0001", "device.dev-0003"}}
	traceless := fault.LostKeys{Bucket: fleet.BucketResources, Keys: []string{"deployment.late", "device.shelf"}, Traceless: true}
	repaired := func(what string, since time.Time) {
		t.Helper()
		s.mirrored(before)
		s.WaitReady(3)
		s.Measured(what+": repaired", time.Since(since), 30*time.Second)
		s.AtRest()
		s.untouched(what, desired)
	}
	// blind starts the reconciler anew while no patcher is there, and the patcher once the reconciler has
	// judged and waited for as long as doubtful changes do.
	blind := func(what string, f func(), blocked int) {
		t.Helper()
		fault.Inject(s.Stack, fault.Kill{patcher, reconciler})
		f()
		fault.Heal(s.Stack, fault.Kill{reconciler})
		s.judged(blocked)
		s.untouched(what+", without a patcher", desired)
		fault.Heal(s.Stack, fault.Kill{patcher})
		repaired(what+", without a patcher", time.Now())
	}

	began := time.Now()
	fault.Inject(s.Stack, marked)
	repaired("keys deleted", began)
	began = time.Now()
	fault.Inject(s.Stack, traceless)
	repaired("keys purged", began)
	// Without a trace: late; web and all on the shelf. So few that the brake would let them pass.
	blind("keys deleted and purged", func() { fault.Inject(s.Stack, marked); fault.Inject(s.Stack, traceless) }, 6+2)
	began = time.Now()
	fault.Inject(s.Stack, old)
	repaired("old stream", began)
	// Without a trace: late, the shelf. And of web: the east.
	blind("old stream", func() { fault.Inject(s.Stack, old) }, 6+2+3)
	if n, err := running(t.Context(), s.Stack, "late"); n != 6 || err != nil {
		t.Errorf("late runs on %d devices (%v)", n, err)
	}
}

// mirrored waits until the mirror says what it said in a picture.
func (s *braked) mirrored(before lab.Picture) {
	s.t.Helper()
	s.Eventually(30*time.Second, "the mirror to be repaired", func(ctx context.Context) error {
		now, err := s.NATS.Keys(ctx, fleet.BucketResources)
		if err != nil {
			return err
		}
		for key, e := range before.Keys[fleet.BucketResources] {
			if now[key].Value != e.Value {
				return fmt.Errorf("%s is %q, it was %q", key, now[key].Value, e.Value)
			}
		}
		return nil
	})
}

// judged waits until a reconciler has planned for longer than doubtful changes wait, and does not carry out
// so many deletes.
func (s *braked) judged(blocked int) {
	s.t.Helper()
	var since time.Time
	s.Eventually(40*time.Second, fmt.Sprintf("%d deletes blocked", blocked), func(ctx context.Context) error {
		p, err := rpc.Call[fleet.PlanShowRequest, fleet.PlanShowResponse](ctx, s.Conn(), fleet.PlanShow, fleet.PlanShowRequest{})
		if err != nil || !p.Synced || p.WaitCount != blocked || p.DeleteCount != 0 || p.PutCount != 0 {
			since = time.Time{}
			return errors.Join(err, fmt.Errorf("the plan is %+v", p))
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < 4*time.Second { // twice the quiet time
			return errors.New("judged a moment ago")
		}
		return nil
	})
}
