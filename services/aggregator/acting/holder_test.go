package acting

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// A process that was paused past its lease finds its context alive when it goes on.
func TestEvery_DoesNothingOnceTheLeaseIsNoLongerHeld(t *testing.T) {
	for _, ticks := range []int{0, 1, 3} {
		did := 0
		held := func() bool { return did < ticks }
		err := every(t.Context(), time.Millisecond, held, func(context.Context) error { did++; return nil })
		if did != ticks || !errors.Is(err, kv.ErrDeposed) {
			t.Errorf("held for %d ticks: did %d, then %v", ticks, did, err)
		}
	}
}

// A conflict is mended by the next attempt; only one that lasts is trouble.
func TestHolder_TroubleWithConflicts(t *testing.T) {
	conflict := fmt.Errorf("write: %w", fleet.Errorf(fleet.CodeConflict, "Conflict", "modified"))
	for name, c := range map[string]struct {
		err  error
		age  time.Duration
		want bool
	}{
		"first conflict":       {conflict, 0, false},
		"lasting conflict":     {conflict, conflictFor, true},
		"nobody there at once": {errors.New("no responders"), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Holder{}
			h.acting.Store(true)
			h.devices.set(1, time.Now().Add(-c.age))
			h.devices.blame(c.err)
			if got := h.DeviceTrouble(); (got != nil) != c.want {
				t.Errorf("trouble: %+v", got)
			}
		})
	}
}
