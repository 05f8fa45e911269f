package keeper

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet/kv"
)

func TestSetback(t *testing.T) {
	full := fmt.Errorf("keep: %w", &writeError{errors.New("maximum bytes exceeded")})
	lost := &writeError{fmt.Errorf("%w: timeout", kv.ErrUnknownOutcome)}
	var s setback
	steps := []struct {
		err   error // nil means that the mirror is whole
		wait  time.Duration
		shown string
	}{
		{errDisturbed, again, ""},
		{full, again, "maximum bytes"},
		{full, 2 * again, "maximum bytes"},
		{errDisturbed, again, "maximum bytes"},
		{full, 4 * again, "maximum bytes"},
		{nil, 0, ""},
		{full, again, "maximum bytes"},
		{nil, 0, ""},
		{lost, again, "timeout"},
		{lost, again, "timeout"},
	}
	for i, step := range steps {
		if step.err == nil {
			s.clear()
		} else if wait := s.note(step.err); wait != step.wait {
			t.Errorf("step %d: waits %v, want %v", i, wait, step.wait)
		}
		message := ""
		if r := s.reason(); r != nil {
			message = r.Message
		}
		if (message == "") != (step.shown == "") || !strings.Contains(message, step.shown) {
			t.Errorf("step %d: shows %q, want %q", i, message, step.shown)
		}
	}
	for range 100 {
		if wait := s.note(full); wait > againMost {
			t.Fatalf("waits %v", wait)
		}
	}
}
