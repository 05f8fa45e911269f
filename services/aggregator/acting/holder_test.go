package acting

import (
	"context"
	"errors"
	"testing"
	"time"

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
