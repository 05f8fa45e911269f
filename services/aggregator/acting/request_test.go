package acting

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

func TestJudge(t *testing.T) {
	for want, errs := range map[outcome][]error{
		done:    {nil, fleet.Errorf(fleet.CodeNotFound, "NotFound", "")},
		deposed: {fleet.Errorf(fleet.CodeGone, "EpochStale", "")},
		rebuild: {fleet.Errorf(fleet.CodeConflict, "ObservedBehind", "")},
		silence: {
			fleet.Errorf(fleet.CodeBusy, "Busy", ""),
			fleet.Errorf(fleet.CodeUnavailable, rpc.ReasonNoResponders, ""),
			fmt.Errorf("call: %w", fleet.Errorf(fleet.CodeUnavailable, rpc.ReasonTimeout, "")),
			fleet.Errorf(fleet.CodeUnavailable, rpc.ReasonDisconnected, ""),
			fleet.Errorf(fleet.CodeUnavailable, "NotReady", ""),
			fleet.Errorf(fleet.CodeUnavailable, "EpochUnknown", ""),
			fleet.Errorf(fleet.CodeUnavailable, "APIUnreachable", ""),
			fleet.Errorf(fleet.CodeUnavailable, "APIUnauthorized", ""),
		},
		again: {
			errors.New("no answer of the contract"),
			fleet.Errorf(fleet.CodeUnavailable, "APIFailing", ""),
			fleet.Errorf(fleet.CodeUnavailable, "APIForbidden", ""),
			fleet.Errorf(fleet.CodeConflict, "Conflict", ""),
			fleet.Errorf(fleet.CodeInvalid, "Rejected", ""),
			fleet.Errorf(fleet.CodeInternal, "Internal", ""),
		},
	} {
		for _, err := range errs {
			if got := judge(err); got != want {
				t.Errorf("%v: %s, want %s", err, got, want)
			}
		}
	}
}

func TestRefusals_PauseGrowsForTheRefusedOneOnly(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := newRefusals[string](500 * time.Millisecond)
	var asked []time.Duration
	pausing := func(k string, at time.Time) bool {
		after, is := r.pausing(k, at)
		if is && after != again {
			t.Errorf("%s pauses after %s", k, after)
		}
		return is
	}
	for at := start; at.Before(start.Add(time.Minute)); at = at.Add(time.Second) {
		if pausing("other", at) {
			t.Fatal("another one pauses")
		}
		if !pausing("refused", at) {
			asked = append(asked, at.Sub(start))
			r.note("refused", again, at)
		}
	}
	if len(asked) < 8 || len(asked) > 10 || asked[1] != time.Second || asked[len(asked)-1]-asked[len(asked)-2] != refusedMost {
		t.Errorf("asked at %v", asked)
	}
	r.note("refused", silence, start)
	if !pausing("refused", start.Add(50*time.Second)) {
		t.Error("silence ends the pause")
	}
	r.note("refused", done, start)
	if pausing("refused", start) || len(r.pause) != 0 {
		t.Error("the pause outlives the success")
	}
}
