package acting

import (
	"fmt"
	"testing"
	"time"

	"harmony.dev/fleet"
)

func TestLedger(t *testing.T) {
	steps := []struct {
		epoch   uint64
		uid     string
		seq     uint64
		current uint64 // the sender's epoch by now
		refused fleet.Code
	}{
		{2, "a", 0, 2, 0},
		{2, "a", 5, 2, 0},
		{2, "a", 5, 2, 0}, // the reply was lost
		{2, "a", 4, 2, fleet.CodeConflict},
		{2, "b", 1, 2, 0},
		{2, "a", 9, 2, 0},
		{3, "a", 1, 3, 0}, // a new holder counts from its own beginning
		{3, "a", 0, 3, fleet.CodeConflict},
		{3, "b", 1, 3, 0},
		{2, "a", 10, 3, fleet.CodeGone}, // was checked before the new holder's, and comes late
		{3, "a", 0, 3, fleet.CodeConflict},
		{1, "a", 1, 1, 0}, // the sender's bucket was restored
		{1, "a", 0, 1, fleet.CodeConflict},
	}
	l := newLedger(func() map[string]bool { return nil })
	for i, s := range steps {
		err := l.enter(s.epoch, s.uid, s.seq, time.Unix(0, 0), func(epoch uint64) bool { return epoch == s.current })
		if fleet.CodeOf(err) != s.refused {
			t.Errorf("step %d: got %v, want code %d", i, err, s.refused)
		}
	}
}

func TestLedger_ForgetsWhatIsGone(t *testing.T) {
	current := func(uint64) bool { return true }
	l := newLedger(func() map[string]bool { return map[string]bool{"stays": true} })
	now := time.Unix(0, 0)
	enter := func(uid string, seq uint64) error { return l.enter(1, uid, seq, now, current) }
	if err := enter("stays", 5); err != nil {
		t.Fatal(err)
	}
	for i := range 100 * ledgerRoom {
		now = now.Add(time.Second)
		if err := enter(fmt.Sprint(i), 5); err != nil {
			t.Fatal(err)
		}
	}
	if most := 3 * ledgerRoom; len(l.last) > most {
		t.Errorf("%d entries, at most %d are of use", len(l.last), most)
	}
	if err := enter("stays", 4); fleet.CodeOf(err) != fleet.CodeConflict {
		t.Errorf("an older seq of a resource that was never gone: %v", err)
	}
	if err := enter(fmt.Sprint(100*ledgerRoom-1), 4); fleet.CodeOf(err) != fleet.CodeConflict {
		t.Errorf("an older seq of a resource that went just now: %v", err)
	}
}
