package herald

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/status"
)

var (
	start   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ready   = status.Stage{Condition: fleet.ConditionReady, Reason: fleet.ReasonAllRunning, Generation: 1}
	pending = status.Stage{Condition: fleet.ConditionReconciling, Reason: fleet.ReasonPending, Generation: 1}
	failed  = status.Stage{Condition: fleet.ConditionStalled, Reason: fleet.ReasonDevicesFailed, Generation: 1}
)

func at(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }

func step(uid string, from, to status.Stage, due int) transition {
	return transition{name: uid, uid: uid, from: from, to: to, due: at(due), by: at(due + 12)}
}

// names returns what is taken as "web: Ready to Stalled".
func names(all []transition) []string {
	out := []string{}
	for _, t := range all {
		out = append(out, fmt.Sprintf("%s: %s to %s", t.name, t.from.Condition, t.to.Condition))
	}
	return out
}

func TestWaiting_TellsWhatLasts(t *testing.T) {
	w := newWaiting(10)
	w.note(step("flaps", ready, failed, 3))
	w.note(step("flaps", failed, pending, 4))
	w.note(step("flaps", pending, ready, 5))
	w.note(step("fails", ready, pending, 3))
	w.note(step("fails", pending, failed, 4))
	w.note(step("comes", pending, ready, 2))
	if got := w.take(at(1), 10); len(got) != 0 {
		t.Errorf("before its time: %v", names(got))
	}
	if got, want := names(w.take(at(3), 10)), []string{"comes: Reconciling to Ready"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := names(w.take(at(4), 10)), []string{"fails: Ready to Stalled"}; !slices.Equal(got, want) {
		t.Errorf("once the last step has lasted: %q, want %q", got, want)
	}
	if got := w.take(at(9), 10); len(got) != 0 || len(w.byUID) != 0 {
		t.Errorf("afterwards %v, and %d that wait", names(got), len(w.byUID))
	}
}

func TestWaiting_IsBoundedAndKeepsTheOldestFirst(t *testing.T) {
	w := newWaiting(3)
	for i := range 5 {
		if told := w.note(step(fmt.Sprint(i), pending, ready, 10-i)); told != (i < 3) {
			t.Errorf("%d is taken in: %t", i, told)
		}
	}
	if !w.note(step("1", ready, failed, 20)) {
		t.Error("a step of one that waits has no room")
	}
	if got, want := names(w.take(at(20), 2)), []string{"2: Reconciling to Ready", "0: Reconciling to Ready"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := names(w.take(at(20), 2)), []string{"1: Reconciling to Stalled"}; !slices.Equal(got, want) {
		t.Errorf("what was too much for one time: %q, want %q", got, want)
	}
}

// What goes on changing is told in the end, and what changes in numbers only is not put off.
func TestWaiting_PutsOffForOtherStagesAndNotForEver(t *testing.T) {
	w := newWaiting(10)
	w.note(step("flaps", ready, failed, 3))
	for second := 1; second < 15; second++ {
		w.note(step("flaps", failed, []status.Stage{failed, pending}[second%2], second+3))
		if got := w.take(at(second), 10); len(got) != 0 {
			t.Fatalf("told after %d s: %v", second, names(got))
		}
	}
	if got, want := names(w.take(at(15), 10)), []string{"flaps: Ready to Stalled"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	more := failed
	more.Message, more.Matched = "failed on 2", 7
	w.note(step("grows", ready, failed, 3))
	w.note(step("grows", failed, more, 5))
	if got := w.take(at(3), 10); len(got) != 1 || got[0].to != more {
		t.Errorf("one that fails on more and more devices: %+v", got)
	}
}

func TestPerSecond_LeavesMostWritesToTheStatuses(t *testing.T) {
	for writes, want := range map[float64]int{0.5: 1, 10: 1, 39: 1, 40: 2, 100: 5, 200: 10, 1e9: 10} {
		if got := perSecond(writes); got != want {
			t.Errorf("of %v writes a second: %d, want %d", writes, got, want)
		}
	}
}
