package plan

import "harmony.dev/fleet"

// outcome is how far a plan brings one Deployment.
type outcome struct {
	left int    // keys that are stored after the plan
	owed bool   // part of the Deployment's own change is outstanding
	held string // id of the hold that keeps deletes of it back
}

// appliedAfter returns the applied record that a Deployment is to have after the plan; nil means none.
func (s *State) appliedAfter(p *deployment, o outcome) *fleet.Applied {
	switch {
	case p.presence == unknown:
		return p.applied
	case p.out():
		if o.left == 0 && s.mirror.vouched() {
			return nil
		}
		return amended(p.applied, o.held)
	case p.invalid != "":
		a := fleet.Applied{UID: p.uid, Generation: p.generation, Invalid: p.invalid, Held: o.held}
		if p.regressed() {
			a.Generation = p.applied.Generation
		}
		return &a
	case o.owed:
		return amended(p.applied, o.held)
	}
	return &fleet.Applied{UID: p.uid, Generation: p.generation, Held: o.held}
}

// amended is the same generation with the present hold.
func amended(a *fleet.Applied, held string) *fleet.Applied {
	if a == nil {
		return nil
	}
	return &fleet.Applied{UID: a.UID, Generation: a.Generation, Held: held}
}

// changeOf compares a stored record with the one there is to be. foreign says that the bucket holds
// somebody else's.
func changeOf[T comparable](stored, wanted *T, foreign bool) *Change[T] {
	same := stored == wanted || stored != nil && wanted != nil && *stored == *wanted
	if same && !foreign {
		return nil
	}
	return &Change[T]{wanted}
}

// rest notes whether a Deployment is at rest: without a hold and with a mirror that is vouched for, a plan would
// have nothing to write for it.
func (s *State) rest(p *deployment) {
	unmade := s.isUnmade(p)
	member(s.unmade, p, unmade)
	member(s.sound, p, p.stuck() && !unmade)
	if len(p.differing) == 0 && p.atRest() {
		delete(s.busy, p)
		return
	}
	s.busy[p] = struct{}{}
}

// member puts an item into a set or takes it out.
func member[T comparable](set map[T]struct{}, item T, in bool) {
	if in {
		set[item] = struct{}{}
	} else {
		delete(set, item)
	}
}

// atRest reports whether the applied record is the final one.
func (p *deployment) atRest() bool {
	if p.unapplied {
		return false
	}
	switch {
	case p.presence == unknown:
		return true
	case p.out():
		return p.applied == nil
	}
	a := p.applied
	return a != nil && a.UID == p.uid && a.Invalid == p.invalid && a.Held == "" &&
		(a.Generation == p.generation || p.invalid != "" && p.regressed())
}
