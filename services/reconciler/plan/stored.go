package plan

import (
	"time"

	"harmony.dev/fleet"
)

// ApplyDesired takes in one message of desired-state, received at that time. An error is an [*Aside].
func (s *State) ApplyDesired(m Message, at time.Time) error {
	if name, ok := fleet.ParseAppliedKey(m.Key); ok {
		return s.applyApplied(s.deployment(name), m)
	}
	switch m.Key {
	case fleet.KeyHold:
		return s.applyHold(m)
	case fleet.KeyLease, fleet.KeyEpoch:
		return nil
	}
	name, err := fleet.ParseDesiredKey(m.Key)
	if err != nil {
		if m.Op != Put {
			return nil
		}
		return &Aside{Err: err}
	}
	return s.applyPair(name, m, at)
}

func (s *State) applyPair(name fleet.Pair, m Message, at time.Time) error {
	delete(s.recent, name)
	if m.Op == Marker && m.Own && m.Cause.Doubtful() {
		s.recent[name] = m.Time
	}
	p := s.deployment(name.Deployment)
	d := s.device(name.Device)
	if m.Op != Put && p.pairs[d] == nil {
		s.release(p, d)
		return nil
	}
	x := link(p, d)
	switch {
	case x.stored == nil:
	case m.Op == Gone:
		s.Lose(at)
	case m.Op == Expired, m.Op == Marker && !m.Own: // no value of the reconciler's own ends by itself
		p.robbed = true // the others have what they had
	}
	s.store(x, m)
	s.judge(x, at)
	if m.Op == Put && !m.Own {
		return &Aside{Err: ErrForeign}
	}
	return nil
}

// store puts what the bucket holds into the pair.
func (s *State) store(x *pair, m Message) {
	old := x.stored
	_, older := s.older[x]
	confirmed := old != nil && x.revision == m.Revision && !older // it is read again
	x.stored, x.revision, x.foreign = nil, 0, false
	delete(s.older, x)
	if m.Op == Put {
		x.stored, x.revision, x.foreign = s.values.use(m.Value), m.Revision, !m.Own
		if m.Revision <= s.restored && !confirmed {
			s.older[x] = struct{}{}
		}
	}
	s.values.drop(old)
	n := 0
	if old != nil {
		n--
	}
	if x.stored != nil {
		n++
	}
	s.keys, x.deployment.keys, x.device.keys = s.keys+n, x.deployment.keys+n, x.device.keys+n
	x.device.entries = nil
}

// applyApplied takes in the applied record of a Deployment. The last good one goes on counting when
// somebody else writes or deletes it.
func (s *State) applyApplied(p *deployment, m Message) error {
	var aside error
	switch {
	case m.Op == Put:
		a, err := read(m, fleet.DecodeApplied)
		if err != nil {
			p.unapplied, aside = true, &Aside{Err: err, Kept: p.applied != nil}
			break
		}
		p.applied, p.unapplied = &a, false
	case m.Op == Marker && !m.Own:
		p.unapplied = p.applied != nil
	default:
		p.applied, p.unapplied = nil, false
	}
	s.rest(p)
	s.release(p, nil)
	return aside
}

// applyHold takes in the hold, as applyApplied does its record: nobody but a holder releases or
// approves one.
func (s *State) applyHold(m Message) error {
	switch {
	case m.Op == Put:
		h, err := read(m, fleet.DecodeHold)
		if err != nil {
			s.unheld = true
			return &Aside{Err: err, Kept: s.hold != nil}
		}
		s.hold, s.holdAt, s.unheld = &h, m.Revision, false
		if s.mirror.setBack || m.Revision == s.voidAt {
			s.voidHold()
		}
	case m.Op == Marker && !m.Own:
		s.unheld = s.hold != nil
	default:
		s.hold, s.unheld = nil, false
	}
	return nil
}
