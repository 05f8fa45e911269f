package acting

import (
	"testing"
	"time"
)

// waits reports whether it is too early to ask again.
func waits[Key comparable](r *refusals[Key], k Key, now time.Time) bool {
	return now.Before(r.pause[k].until)
}

func TestRefusals_PausesGrow(t *testing.T) {
	r := newRefusals[string](time.Second)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		r.note("d", again, now)
		now = now.Add(want*time.Second - 1)
		if !waits(r, "d", now) {
			t.Errorf("no pause of %d s", want)
		}
		if now = now.Add(1); waits(r, "d", now) {
			t.Errorf("a pause of more than %d s", want)
		}
	}
	r.note("d", done, now)
	if r.note("d", again, now); waits(r, "d", now.Add(time.Second)) {
		t.Error("a refusal after a success has the pause of an old one")
	}
}

// What was refused and is gone is forgotten, whatever comes and goes within one epoch; what is refused all
// the time is not.
func TestRefusals_ForgetWhatIsGone(t *testing.T) {
	r := newRefusals[int](time.Second)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const standing = 50
	for tick := range 10_000 {
		for k := range standing {
			if !waits(r, k, now) {
				r.note(k, again, now)
			}
		}
		r.note(standing+tick, again, now) // once and never again
		now = now.Add(time.Second)
	}
	if n, late := len(r.pause), int(refusedFor/time.Second); n > 3*(standing+late) {
		t.Errorf("%d pauses are kept", n)
	}
	for k := range standing {
		if r.pause[k].length != refusedMost {
			t.Errorf("the pause of %d has started anew: %s", k, r.pause[k].length)
		}
	}
}
