package projection

import "time"

// Turns remembers when the turns of a State came, which knows no clock: all at one time are one mark, so
// that it costs little however many come. The zero Turns remembers none.
type Turns struct {
	marks []mark
	past  uint64
}

type mark struct {
	turn uint64
	at   time.Duration
}

// Note says that all turns up to this one have come at the time at, if they had not before.
func (t *Turns) Note(turn uint64, at time.Duration) {
	if n := len(t.marks); turn > t.past && (n == 0 || turn > t.marks[n-1].turn) {
		t.marks = append(t.marks, mark{turn, at})
	}
}

// Until returns the last turn that came not after the time at, 0 when none did. Later calls must not ask
// about an earlier time.
func (t *Turns) Until(at time.Duration) uint64 {
	for len(t.marks) > 0 && t.marks[0].at <= at {
		t.past = t.marks[0].turn
		t.marks = t.marks[1:]
	}
	return t.past
}
