package keeper

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// ReasonMirrorNotWritten says that the bucket does not take what the mirror is to hold.
const ReasonMirrorNotWritten = "MirrorNotWritten"

// How long the holder waits before it takes the next epoch: who touches the mirror all the time must not
// make it spin. What the bucket refuses it refuses again, and each attempt costs a list of everything.
const (
	again     = 500 * time.Millisecond
	againMost = 30 * time.Second
)

// writeError says that a write to the mirror did not succeed.
type writeError struct{ err error }

func (e *writeError) Error() string { return fmt.Sprintf("write to the mirror: %v", e.err) }

func (e *writeError) Unwrap() error { return e.err }

// setback remembers the write that did not succeed, until the mirror is whole again.
type setback struct {
	mu   sync.Mutex
	err  error
	wait time.Duration
}

// note takes in why an epoch ended and returns how long to wait for the next.
func (s *setback) note(err error) time.Duration {
	failed, ok := errors.AsType[*writeError](err)
	if !ok {
		return again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = failed
	if errors.Is(err, kv.ErrUnknownOutcome) {
		return again
	}
	s.wait = min(max(2*s.wait, again), againMost)
	return s.wait
}

// clear takes in that the mirror is whole.
func (s *setback) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.wait = nil, 0
}

func (s *setback) reason() *fleet.Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	return &fleet.Reason{Reason: ReasonMirrorNotWritten, Message: fmt.Sprintf(
		"what the custom resources say does not reach the other services; trying again at least every %v (%v)", againMost, s.err)}
}
