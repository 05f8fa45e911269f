package plan

import (
	"strconv"
	"time"

	"harmony.dev/fleet"
)

// Brake says when deletes that look like lost truth are held back.
//
// A doubtful delete first waits until the mirror has been quiet for Quiet, at most MaxWait: half of a
// restore is no state to act on. Then all doubtful deletes are counted together with those of the last
// Window, which the bucket itself remembers in its delete markers, so the count survives failover. Too
// many of them are held: a person approves the hold by its id, or it releases itself when nothing
// doubtful is left. While a hold is not approved, every doubtful delete is held with it, and it becomes
// another hold, with an id of its own, when those that came later have waited too.
type Brake struct {
	Quiet   time.Duration // without a change in the mirror
	MaxWait time.Duration // a delete waits no longer than this for a quiet mirror
	Window  time.Duration // over which doubtful deletes are counted
	Percent int           // of the keys that may go unasked …
	Min     int           // … or so many fewer than this
}

// DefaultBrake is the brake of the design: 10 s of quiet, at most 60 s; over 20 % of the keys and at
// least 10 of them in 10 minutes.
func DefaultBrake() Brake {
	return Brake{Quiet: 10 * time.Second, MaxWait: time.Minute, Window: 10 * time.Minute, Percent: 20, Min: 10}
}

// exceeds reports whether taking so many of that many keys is too much to do unasked.
func (b Brake) exceeds(taken, keys int) bool {
	return taken >= b.Min && taken*100 > b.Percent*keys
}

// ripeAt is when a doubtful change seen at since has waited long enough.
func (b Brake) ripeAt(m *mirror, since time.Time) time.Time {
	limit := later(since, m.confirmed).Add(b.MaxWait)
	if quiet := m.stirred.Add(b.Quiet); quiet.Before(limit) {
		return quiet
	}
	return limit
}

// doubt is a doubtful delete that the mirror allows.
type doubt struct {
	Delete
	since    time.Time
	causedAt uint64
	ripe     bool
	pair     *pair
}

// fate is what becomes of a doubtful delete.
type fate uint8

const (
	pass fate = iota
	wait
	held
)

// verdict is what the brake says about all doubtful deletes of a plan.
type verdict struct {
	approved uint64      // those caused up to this mirror revision pass
	hold     *fleet.Hold // the others are held by this; nil means nothing is
}

// of returns the fate of one delete.
func (v verdict) of(d doubt) fate {
	switch {
	case d.causedAt <= v.approved && (d.ripe || !d.pair.byAbsence()):
		return pass // what is just missing may be on its way back
	case v.hold != nil:
		return held
	case !d.ripe:
		return wait
	}
	return pass
}

// covers counts the held deletes that an approval of the hold lets pass. Those that came after it and have not
// waited yet are held as well, and become a hold of their own.
func (v verdict) covers(doubts []doubt) int {
	n := 0
	for _, d := range doubts {
		if v.of(d) == held && d.causedAt <= v.hold.UpTo {
			n++
		}
	}
	return n
}

// judgeDoubts decides about the doubtful deletes of a plan.
func (s *State) judgeDoubts(doubts []doubt, now time.Time) verdict {
	var v verdict
	if s.hold != nil && s.hold.Approved {
		v.approved = s.hold.UpTo
	}
	open := without(doubts, v.approved)
	ripe, upTo := false, uint64(0)
	for _, d := range open {
		if d.ripe {
			ripe, upTo = true, max(upTo, d.causedAt)
		}
	}
	switch {
	case s.hold != nil && !s.hold.Approved:
		h := *s.hold
		if v.hold = &h; upTo > h.UpTo {
			v.hold = newHold(upTo, h.Keys)
		}
	case ripe && s.tooMuch(open, now):
		v.hold = newHold(upTo, s.keys)
	}
	return v
}

// tooMuch reports whether these deletes, with those of the last window, need a person. The ones that
// are not ripe count as well: they are on their way.
func (s *State) tooMuch(open []doubt, now time.Time) bool {
	recent := s.recently(now)
	return s.brake.exceeds(recent+len(open), recent+s.keys) || s.takesLast(open)
}

// recently counts the doubtful deletes of the last window.
func (s *State) recently(now time.Time) int {
	n, from := 0, now.Add(-s.brake.Window)
	for _, at := range s.recent {
		if at.After(from) {
			n++
		}
	}
	return n
}

// takesLast reports whether the last Deployment or the last Device is among what vanished.
func (s *State) takesLast(open []doubt) bool {
	for _, d := range open {
		if d.Cause != fleet.CauseVanished {
			continue
		}
		if s.alive.deployments == 0 && d.pair.deployment.vanished() || s.alive.devices == 0 && d.pair.device.vanished() {
			return true
		}
	}
	return false
}

// Approve returns the hold in the bucket as approved, or a conflict when id is not its id.
func (s *State) Approve(id string) (fleet.Hold, error) {
	h, ok := s.Hold()
	switch {
	case !ok:
		return fleet.Hold{}, fleet.Errorf(fleet.CodeConflict, "NotHeld", "nothing is held: there is no hold to approve")
	case h.ID != id:
		return fleet.Hold{}, fleet.Errorf(fleet.CodeConflict, "HoldChanged", "%q is not the current hold: look at the plan again, it is %s now", id, h.ID)
	}
	h.Approved = true
	return h, nil
}

// newHold makes a hold of what was caused up to a mirror revision. The id is the revision: approving
// it approves exactly that.
func newHold(upTo uint64, keys int) *fleet.Hold {
	return &fleet.Hold{ID: "hold-" + strconv.FormatUint(upTo, 36), UpTo: upTo, Keys: keys}
}

// without returns the doubts that an approval does not cover.
func without(doubts []doubt, approved uint64) []doubt {
	if approved == 0 {
		return doubts
	}
	open := make([]doubt, 0, len(doubts))
	for _, d := range doubts {
		if d.causedAt > approved {
			open = append(open, d)
		}
	}
	return open
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
