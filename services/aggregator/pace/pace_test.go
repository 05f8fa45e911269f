package pace_test

import (
	"testing"
	"time"

	"harmony.dev/services/aggregator/pace"
)

func TestBucket(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b := pace.New(2, 5)
	for i, step := range []struct {
		after     time.Duration // since noon
		take, got int
	}{
		{0, 3, 3},
		{0, 3, 2}, // the burst is used up
		{time.Second, 9, 2},
		{-time.Hour, 1, 0}, // the clock went back
		{2 * time.Second, 1, 1},
		{time.Hour, 9, 5}, // no more than the burst
	} {
		if got := b.Take(noon.Add(step.after), step.take); got != step.got {
			t.Errorf("step %d: got %d tokens, want %d", i, got, step.got)
		}
	}
	b.Return(1)
	if got := b.Take(noon.Add(time.Hour), 9); got != 1 {
		t.Errorf("got %d of the returned tokens, want 1", got)
	}
}
