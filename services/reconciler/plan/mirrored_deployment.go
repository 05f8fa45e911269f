package plan

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
)

func (s *State) applyDeployment(p *deployment, m Message, at time.Time) error {
	switch {
	case m.Op == Put:
		entry, err := read(m, fleet.DecodeMirrorDeployment)
		if err != nil {
			return s.doubtDeployment(p, at, err)
		}
		s.setDeployment(p, entry, m.Revision, at)
	case m.Op == Gone, m.Op == Marker && m.Own, m.Op == Expired && p.presence == tombstone:
		s.setDeployment(p, fleet.MirrorDeployment{}, 0, at)
	case m.Op == Expired:
		_ = s.doubtDeployment(p, at, nil) // as for a device
	default:
		return s.doubtDeployment(p, at, ErrForeign)
	}
	return nil
}

// doubtDeployment keeps the last good entry; without one the Deployment is unknown.
func (s *State) doubtDeployment(p *deployment, at time.Time, err error) error {
	kept := p.presence != absent && p.presence != unknown
	if s.noteWhole(p); !kept {
		p.presence, p.unread = unknown, p.unread || err != nil
		s.judgeDeployment(p, at)
	}
	return &Aside{Err: err, Kept: kept}
}

// setDeployment replaces a Deployment's entry; the zero entry means that there is none.
func (s *State) setDeployment(p *deployment, e fleet.MirrorDeployment, revision uint64, at time.Time) {
	s.noteWhole(p) // before it may be stuck
	s.countDeployment(p, -1)
	seek := p.out() || p.presence != live || p.invalid != "" || !reflect.DeepEqual(p.spec, e.TargetSelector)
	p.resource = resourceOf(e.UID, e.Deleting, e.Tombstone)
	p.revision, p.generation, p.spec = revision, e.Generation, e.TargetSelector
	s.compile(p, e)
	s.countDeployment(p, +1)
	s.judgeDeployment(p, at)
	if seek {
		s.seekDevices(p, at)
	}
	s.release(p, nil)
}

// compile derives matcher and value, once for all pairs, or why there are none.
func (s *State) compile(p *deployment, e fleet.MirrorDeployment) {
	old := p.value
	p.matcher, p.value, p.invalid = selector.Matcher{}, nil, ""
	if p.presence == live && !p.deleting {
		matcher, value, err := targetOf(e)
		if err != nil {
			p.invalid = shortened(fleet.InvalidText(err))
		} else {
			p.matcher, p.value = matcher, s.values.use(value)
		}
	}
	s.values.drop(old)
	if p.value != nil {
		s.selectors.Set(p, p.matcher)
	} else {
		s.selectors.Remove(p)
	}
}

// maxReason is how much of the text that says why a Deployment is invalid is kept, in bytes: an applied
// record has to stay readable whatever the Deployment holds.
const maxReason = 512

// shortened cuts a text to maxReason bytes of valid UTF-8.
func shortened(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason] + "…"
	}
	return strings.ToValidUTF8(s, "")
}

// targetOf is [Target] of a mirror entry, which may say itself that there is none.
func targetOf(e fleet.MirrorDeployment) (selector.Matcher, []byte, error) {
	if e.Invalid != "" {
		return selector.Matcher{}, nil, fmt.Errorf("%w: %s", fleet.ErrInvalid, e.Invalid)
	}
	return Target(e.UID, e.TargetSelector, e.Score)
}

// Target returns whom a Deployment means and what it wants there: canonical bytes, shared by all of
// its pairs. The error says why it cannot be applied.
func Target(uid string, spec fleet.Selector, score fleet.Score) (selector.Matcher, []byte, error) {
	matcher, err := selector.Compile(spec)
	if err != nil {
		return selector.Matcher{}, nil, err
	}
	value, err := fleet.EncodeDesired(fleet.Desired{UID: uid, Score: score})
	if err != nil {
		return selector.Matcher{}, nil, err
	}
	return matcher, value, nil
}

// judgeDeployment judges the pairs that a Deployment has.
func (s *State) judgeDeployment(p *deployment, at time.Time) {
	for _, x := range p.pairs {
		judge(x, at)
		s.confirm(x)
		s.release(nil, x.device)
	}
	s.rest(p)
}

// seekDevices gives a Deployment the pairs that it newly has in scope.
func (s *State) seekDevices(p *deployment, at time.Time) {
	if p.value == nil {
		return
	}
	for _, d := range s.devices {
		if p.pairs[d] == nil && scopeOf(p, d) == inside {
			judge(link(p, d), at)
		}
	}
	s.rest(p)
}

func (s *State) countDeployment(p *deployment, n int) {
	if p.presence != live {
		return
	}
	if !p.deleting {
		s.alive.deployments += n
		return
	}
	if n > 0 {
		s.ending[p] = struct{}{}
	} else {
		delete(s.ending, p)
	}
}
