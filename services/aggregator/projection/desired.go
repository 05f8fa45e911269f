package projection

import "harmony.dev/fleet"

// PutDesired takes in the value of a desired-state key. A value that is not of the contract puts the
// pair in scope like any other, but no report counts for it; its error is returned.
func (s *State) PutDesired(id fleet.Pair, value []byte) error {
	w := s.intern(value)
	s.setWish(id, w)
	return w.err
}

// PutForeign takes note that somebody else than the reconciler wrote the value of a desired-state key.
// The pair is in scope until the reconciler has judged it; no report counts for it.
func (s *State) PutForeign(id fleet.Pair) { s.setWish(id, s.foreign) }

// DropDesired takes note that a pair is not desired.
func (s *State) DropDesired(id fleet.Pair) {
	if p := s.lookup(id); p != nil && p.wish != nil {
		s.setWish(id, nil)
		s.forgetPair(p)
	}
}

func (s *State) setWish(id fleet.Pair, w *wish) {
	p := s.pair(id)
	s.release(p.wish)
	p.wish = w
	s.settle(p)
	s.claimSpare(p)
}
