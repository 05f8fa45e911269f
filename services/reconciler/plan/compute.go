package plan

import (
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// Compute returns what is to be written now. It changes nothing: the state follows when the writes
// come back as messages. Its cost is that of the differences, not of the fleet.
func (s *State) Compute(now time.Time) Plan {
	if !s.mirror.whole() {
		return Plan{}
	}
	drafts := make([]draft, 0, len(s.busy))
	for p := range s.busy {
		drafts = append(drafts, s.draftOf(p, now))
	}
	plan := s.assemble(drafts, now)
	plan.Releases = s.releases()
	return plan
}

// draft is what one Deployment asks for, before the brake has spoken.
type draft struct {
	deployment *deployment
	puts       []Assignment
	deletes    []Delete // certain
	doubts     []doubt
	blocked    []Delete
	since      time.Time // of the newest put
	owed       bool      // a blocked delete belongs to the Deployment's own change
	unsure     bool      // a blocked delete is doubtful
}

// draftOf sorts the differences of a Deployment by what may become of them.
func (s *State) draftOf(p *deployment, now time.Time) draft {
	dr := draft{deployment: p}
	for x, since := range p.differing {
		if x.action == put {
			dr.puts = append(dr.puts, Assignment{x.name(), p.value})
			dr.since = later(dr.since, since)
			continue
		}
		d := Delete{x.name(), causeOf(p, x.device)}
		switch {
		case !s.mirror.vouched():
			dr.blocked = append(dr.blocked, d)
			dr.owed = dr.owed || fromDeployment(p, d.Cause)
			dr.unsure = dr.unsure || d.Cause.Doubtful()
		case d.Cause.Doubtful():
			dr.doubts = append(dr.doubts, doubt{
				Delete: d, pair: x, since: since,
				causedAt: s.mirror.causedAt(p, x.device),
				ripe:     s.ripe(since, now),
			})
		default:
			dr.deletes = append(dr.deletes, d)
		}
	}
	return dr
}

// ripe reports whether a doubtful change has waited long enough.
func (s *State) ripe(since, now time.Time) bool { return !now.Before(s.brake.ripeAt(&s.mirror, since)) }

// assemble lets the brake judge all doubtful deletes together and makes the plan.
func (s *State) assemble(drafts []draft, now time.Time) Plan {
	slices.SortFunc(drafts, func(a, b draft) int {
		return strings.Compare(string(a.deployment.name), string(b.deployment.name))
	})
	var doubts []doubt
	unsure := false
	for i := range drafts {
		doubts = append(doubts, drafts[i].doubts...)
		unsure = unsure || drafts[i].unsure
	}
	plan, v := Plan{}, s.judgeDoubts(doubts, now)
	for i := range drafts {
		if g := s.group(&drafts[i], v, now, &plan); !g.empty() {
			plan.Groups = append(plan.Groups, g)
		}
	}
	plan.Hold = changeOf(s.hold, s.holdAfter(v, len(doubts) > 0, unsure, v.covers(doubts)), s.unheld)
	return plan
}

// group decides what of a draft is written now and notes the rest in the plan.
func (s *State) group(dr *draft, v verdict, now time.Time, plan *Plan) Group {
	p := dr.deployment
	g := Group{Deployment: p.name, Puts: dr.puts, Deletes: dr.deletes, Regressed: p.regressed()}
	o := outcome{owed: dr.owed}
	outstanding := len(dr.blocked) > 0
	plan.Blocked = append(plan.Blocked, dr.blocked...)
	for _, d := range dr.doubts {
		switch v.of(d) {
		case pass:
			g.Deletes = append(g.Deletes, d.Delete)
			continue
		case wait:
			plan.Waiting = append(plan.Waiting, d.Delete)
			plan.wake(s.brake.ripeAt(&s.mirror, d.since))
			o.owed = o.owed || fromDeployment(p, d.Cause)
		case held:
			plan.Held = append(plan.Held, d.Delete)
			o.held = v.hold.ID
			o.owed = o.owed || fromDeployment(p, d.Cause)
			if !d.ripe && d.causedAt > v.hold.UpTo {
				plan.wake(s.brake.ripeAt(&s.mirror, d.since))
			}
		}
		outstanding = true
	}
	if dr.unsure && o.held == "" && p.applied != nil {
		o.held = p.applied.Held // nothing new is known about what was held
	}
	// The record of a regressed Deployment stays while any delete is outstanding, whatever its cause: under
	// a record that was lowered, the next edit would make what is doubtful now an edited delete.
	if p.regressed() && (outstanding || len(dr.puts) > 0 && !s.ripeAlone(dr, now, plan)) {
		g.Puts, o.owed = nil, true
	}
	o.left = p.keys - len(g.Deletes)
	g.Applied = changeOf(p.applied, s.appliedAfter(p, o), p.unapplied)
	g.sort()
	return g
}

// ripeAlone reports whether the puts of a regressed Deployment have waited long enough. They go with its
// deletes when it has any; alone they wait as those do, for a patcher and for the quiet, since they are as
// doubtful.
func (s *State) ripeAlone(dr *draft, now time.Time, plan *Plan) bool {
	switch {
	case !s.mirror.vouched():
		return false
	case len(dr.doubts) > 0 || s.ripe(dr.since, now):
		return true
	}
	plan.wake(s.brake.ripeAt(&s.mirror, dr.since))
	return false
}

// holdAfter returns the hold that there is to be after the plan, of so many deletes: a hold goes when nothing
// doubtful is left, also nothing that the mirror cannot vouch for now. One that covers none of what is left
// stays as it is until it becomes another hold.
func (s *State) holdAfter(v verdict, doubtful, unsure bool, covered int) *fleet.Hold {
	switch {
	case !doubtful && !unsure:
		return nil
	case v.hold == nil:
		return s.hold
	case unsure:
		v.hold.Deletes = max(v.hold.Deletes, covered)
	case covered > 0:
		v.hold.Deletes = covered
	}
	return v.hold
}

func (p *Plan) wake(at time.Time) {
	if p.Wake.IsZero() || at.Before(p.Wake) {
		p.Wake = at
	}
}

func (g *Group) sort() {
	slices.SortFunc(g.Puts, func(a, b Assignment) int { return a.Pair.Compare(b.Pair) })
	slices.SortFunc(g.Deletes, func(a, b Delete) int { return a.Pair.Compare(b.Pair) })
}

// releases lists the finalizers of resources that are being deleted and have no key left in view.
func (s *State) releases() []Release {
	var all []Release
	for p := range s.ending {
		if p.keys == 0 && p.applied == nil && !p.unapplied {
			all = append(all, Release{fleet.KindDeployment, string(p.name), p.uid})
		}
	}
	for d := range s.leaver {
		if d.keys == 0 {
			all = append(all, Release{fleet.KindDevice, string(d.id), d.uid})
		}
	}
	slices.SortFunc(all, func(a, b Release) int {
		return strings.Compare(a.Kind+"/"+a.Name, b.Kind+"/"+b.Name)
	})
	return all
}
