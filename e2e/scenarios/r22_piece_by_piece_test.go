package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   all devices lose a label at once, and get it back; then Devices vanish without deletion, a few at
// a time, each time few enough to pass, with a SIGKILL of the reconciler that has let them pass; then all
// devices lose the label again.
// Promise: what is lost at once is held, and released by itself with nothing written; what is lost piece by
// piece is held once the pieces are too many together, also by a reconciler that has seen one of them only.
// Meanwhile deletions and edits by a person pass. What comes on top makes it another hold, and only approving
// that one lets it pass.
// Budget:  held and shown within 30 s, released or carried out within 30 s.
// Found:   -
func TestR22_LostPieceByPiece(t *testing.T) {
	t.Parallel()
	s := newBraked(t, lab.Options{}, 2)
	s.StartDevices(24, quickDevices...)
	registered(t, s.Stack, 24)
	for i := range 16 {
		s.API.CreateDevice(shelf(i), map[string]string{"region": "store"})
	}
	labels := fault.LabelLoss{Key: "tier", Value: "edge"}
	for i := range 24 {
		device := fmt.Sprintf("dev-%04d", i+1)
		labels.Devices = append(labels.Devices, device)
		s.API.Label(device, labels.Key, labels.Value)
	}
	edge := fleet.Selector{MatchLabels: map[string]string{"tier": "edge"}}
	s.API.Apply(deployment("all", fleet.Selector{}))
	s.API.Apply(deployment("edge", edge))
	s.API.Apply(deployment("small", region("south")))
	settled(t, s.Stack, "all", counts(40, 24, 0, 16, 0), fleet.ConditionFalse)
	settled(t, s.Stack, "edge", counts(24, 24, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s.Stack, "small", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest().Keys[fleet.BucketDesiredState] // 70 of them: a fifth is 14

	lost := time.Now()
	fault.Inject(s.Stack, labels)
	s.held(24, []string{"edge"}, nil)
	s.Measured("labels lost at once: held and shown", time.Since(lost), 30*time.Second)
	fault.Heal(s.Stack, labels)
	back := time.Now()
	s.released(4)
	s.Measured("labels back: released", time.Since(back), 30*time.Second)
	settled(t, s.Stack, "edge", counts(24, 24, 0, 0, 0), fleet.ConditionTrue)
	s.untouched("labels back", before)

	s.vanish(0, 5)
	s.vanish(5, 11)
	first := s.Holder(fleet.ServiceReconciler)
	fault.Inject(s.Stack, fault.Kill{first})
	s.WaitReady(3)
	fault.Inject(s.Stack, fault.Vanish{Kind: fleet.KindDevice, Names: shelves(11, 15)})
	lost = time.Now()
	hold := s.held(4, []string{"all"}, nil)
	s.Measured("lost piece by piece: held and shown", time.Since(lost), 30*time.Second)
	for i := range 11 {
		delete(before, shelf(i)+".all")
	}
	s.untouched("held", before)

	must(t)(s.Kubectl(t.Context(), "delete", "fdep/small", "--timeout=20s"))
	s.API.Delete(fleet.KindDevice, shelf(15)) // what the device left behind goes only when nothing is held
	narrow := edge
	narrow.MatchExpressions = region("north", "east", "west").MatchExpressions
	s.API.Apply(deployment("edge", narrow))
	settled(t, s.Stack, "edge", counts(18, 18, 0, 0, 0), fleet.ConditionTrue)
	s.Eventually(20*time.Second, "the key of the deleted Device to go", func(context.Context) error {
		if e, ok := s.keys()[shelf(15)+".all"]; ok {
			return fmt.Errorf("it is %v", e)
		}
		return nil
	})
	now := s.keys()
	gone := slices.DeleteFunc(slices.Collect(maps.Keys(before)), func(key string) bool { return now[key] == before[key] })
	if len(gone) != 6+1+6 || len(now) != len(before)-len(gone) {
		t.Errorf("a person's deletions and edit took %v", gone)
	}
	if again := s.held(4, []string{"all"}, nil); again.ID != hold.ID {
		t.Errorf("they made hold %s of %s", again.ID, hold.ID)
	}

	fault.Inject(s.Stack, labels)
	more := s.heldAnew(hold.ID, 4+18, []string{"all", "edge"}, nil)
	for _, id := range []string{hold.ID, "hold-0"} {
		if err := s.approve(id); fleet.CodeOf(err) != fleet.CodeConflict {
			t.Errorf("approving %s while it is %s was answered with %v", id, more.ID, err)
		}
	}
	s.untouched("others approved", now)
	approved := time.Now()
	if err := s.approve(more.ID); err != nil {
		t.Fatalf("approve %s: %v", more.ID, err)
	}
	s.released(3)
	s.Measured("approved: carried out", time.Since(approved), 30*time.Second)
	settled(t, s.Stack, "all", counts(24, 24, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s.Stack, "edge", counts(0, 0, 0, 0, 0), fleet.ConditionTrue)
	tornDown(t, s.Stack, "edge", "small")
	registered(t, s.Stack, 24)
	after := s.AtRest().Keys[fleet.BucketDesiredState]
	if len(after) != 24 {
		t.Errorf("desired-state has %d keys", len(after))
	}
	for key, e := range after {
		if e != now[key] {
			t.Errorf("%s was rewritten: %v became %v", key, now[key], e)
		}
	}
}

// vanish lets Devices of the shelf vanish and waits until their keys are gone: they are few enough.
func (s *braked) vanish(from, to int) {
	s.t.Helper()
	names := shelves(from, to)
	fault.Inject(s.Stack, fault.Vanish{Kind: fleet.KindDevice, Names: names})
	s.Eventually(30*time.Second, fmt.Sprintf("the keys of %v to go", names), func(ctx context.Context) error {
		if h, held, err := recordOf(ctx, s, fleet.KeyHold, fleet.DecodeHold); held || err != nil {
			return errors.Join(err, fmt.Errorf("held: %+v", h))
		}
		all := s.keys()
		for _, name := range names {
			if _, ok := all[name+".all"]; ok {
				return fmt.Errorf("%s still has its key", name)
			}
		}
		return nil
	})
}

func shelf(i int) string { return fmt.Sprintf("shelf-%02d", i) }

func shelves(from, to int) (names []string) {
	for i := from; i < to; i++ {
		names = append(names, shelf(i))
	}
	return names
}
