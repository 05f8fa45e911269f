package projection

import (
	"crypto/sha256"

	"harmony.dev/fleet"
)

// wish is one distinct desired value. Most pairs of a Deployment share one.
type wish struct {
	value string // the bytes, by which it is found again
	hash  [sha256.Size]byte
	uid   string // of the Deployment; "" when the value cannot be trusted: no report counts for it
	err   error  // why it cannot be trusted
	refs  int    // pairs that have it
}

// intern returns the wish of these bytes; it hashes and parses them only when they are new.
func (s *State) intern(value []byte) *wish {
	w := s.wishes[string(value)]
	if w == nil {
		w = &wish{value: string(value), hash: sha256.Sum256(value)}
		d, err := fleet.DecodeDesired(value)
		w.uid, w.err = d.UID, err
		s.wishes[w.value] = w
	}
	w.refs++
	return w
}

func (s *State) release(w *wish) {
	if w == nil || w == s.foreign {
		return
	}
	if w.refs--; w.refs == 0 {
		delete(s.wishes, w.value)
	}
}
