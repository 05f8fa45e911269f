package projection

import (
	"time"

	"harmony.dev/fleet"
)

// PutDesired takes in the value of a desired-state key. A value that is not of the contract puts the
// pair in scope like any other, but no report counts for it; its error is returned. At is the server's stamp.
func (s *State) PutDesired(id fleet.Pair, value []byte, at time.Time) error {
	w := s.intern(value)
	s.setWish(id, w, at)
	return w.err
}

// PutForeign takes note that somebody else than the reconciler wrote the value of a desired-state key.
// The pair is in scope until the reconciler has judged it; no report counts for it.
func (s *State) PutForeign(id fleet.Pair, at time.Time) { s.setWish(id, s.foreign, at) }

// DropDesired takes note that a pair is not desired.
func (s *State) DropDesired(id fleet.Pair) {
	if p := s.lookup(id); p != nil && p.wish != nil {
		s.setWish(id, nil, time.Time{})
		s.forgetPair(p)
	}
}

func (s *State) setWish(id fleet.Pair, w *wish, at time.Time) {
	p := s.pair(id)
	s.release(p.wish)
	p.wish, p.wishAt = w, stampOf(at)
	s.settle(p)
	s.claimSpare(p)
}
