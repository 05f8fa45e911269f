package plan

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// placeholderUID stands for the uid of a Deployment that does not exist yet.
const placeholderUID = "not-created-yet"

// Show returns what [State.Compute] would give for one Deployment, or for all when name is empty. With
// a candidate: as if that Deployment were so, which makes its generation one newer unless it is so already. The error
// is a [fleet.Error].
func (s *State) Show(now time.Time, name fleet.DeploymentName, c *fleet.Candidate) (fleet.PlanShowResponse, error) {
	if c == nil {
		if _, ok := s.deployments[name]; name != "" && !ok {
			return fleet.PlanShowResponse{}, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no Deployment %q", name)
		}
		r := s.show(s.Compute(now), name)
		s.showInvalid(&r, name)
		return r, nil
	}
	if err := name.Validate(); err != nil {
		return fleet.PlanShowResponse{}, fleet.Errorf(fleet.CodeInvalid, "RequestInvalid", "a candidate needs the name of its Deployment: %v", err)
	}
	q, is, err := s.candidate(name, *c)
	if err != nil {
		return fleet.PlanShowResponse{}, fleet.Errorf(fleet.CodeInvalid, "InvalidCandidate", "%s", fleet.InvalidText(err))
	}
	drafts := []draft{s.draftOf(q, now)}
	for p := range s.busy {
		if p.name != name {
			drafts = append(drafts, s.draftOf(p, now))
		}
	}
	r := s.show(s.assemble(drafts, now), name)
	r.Candidate = is
	gained, lost := q.moved()
	r.GainedCount, r.LostCount = len(gained), len(lost)
	r.Gained, r.Lost = cut(gained, fleet.MaxLimit), cut(lost, fleet.MaxLimit)
	return r, nil
}

// candidate returns a Deployment that is as the one in the mirror would be with another spec, and what that is to the
// one in the mirror. It is no part of the state.
func (s *State) candidate(name fleet.DeploymentName, c fleet.Candidate) (*deployment, fleet.CandidateState, error) {
	q := &deployment{name: name, pairs: map[*device]*pair{}, differing: map[*pair]time.Time{}}
	if p := s.deployments[name]; p != nil {
		q.resource, q.generation, q.keys, q.applied = p.resource, p.generation, p.keys, p.applied
		for d, x := range p.pairs {
			q.pairs[d] = &pair{deployment: q, device: d, foreign: x.foreign, stored: x.stored, revision: x.revision}
		}
	}
	if q.presence != live {
		q.resource = resource{presence: live, uid: placeholderUID}
	}
	matcher, value, err := Target(q.uid, c.TargetSelector, c.Score)
	if err != nil {
		return nil, "", err
	}
	q.spec, q.matcher, q.value = c.TargetSelector, matcher, &Value{Bytes: value}
	is := q.against(s.deployments[name])
	if is != fleet.CandidateUnchanged { // else its generation stays, and what is deleted has the cause that it has
		q.generation = max(q.generation, q.appliedGeneration()) + 1
	}
	s.judgeCandidate(q)
	return q, is, nil
}

// against says what a candidate is to the Deployment of its name, which may be nil.
func (p *deployment) against(now *deployment) fleet.CandidateState {
	switch {
	case now == nil || now.presence != live:
		return fleet.CandidateNew
	case now.deleting:
		return fleet.CandidateDeleting
	case now.value != nil && bytes.Equal(now.value.Bytes, p.value.Bytes) && sameSelector(now.spec, p.spec):
		return fleet.CandidateUnchanged
	}
	return fleet.CandidateChanged
}

// sameSelector compares as the wire does, where what is empty is left out.
func sameSelector(a, b fleet.Selector) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func (s *State) judgeCandidate(q *deployment) {
	if known := s.values[string(q.value.Bytes)]; known != nil {
		q.value = known
	}
	for _, d := range s.devices {
		x := q.pairs[d]
		if x == nil {
			x = &pair{deployment: q, device: d}
		}
		x.scope = scopeOf(q, d)
		if x.action = actionOf(x); x.action != nothing {
			q.pairs[d] = x
			q.differing[x] = s.mirror.stirred
		}
	}
}

// moved returns the devices that a candidate gains and loses, sorted.
func (p *deployment) moved() (gained, lost []fleet.DeviceID) {
	for x := range p.differing {
		switch {
		case x.action == remove:
			lost = append(lost, x.device.id)
		case x.stored == nil:
			gained = append(gained, x.device.id)
		}
	}
	slices.Sort(gained)
	slices.Sort(lost)
	return gained, lost
}

// show renders a plan, only of one Deployment unless name is empty. Lists are cut at
// [fleet.MaxLimit], counts are whole.
func (s *State) show(plan Plan, name fleet.DeploymentName) fleet.PlanShowResponse {
	r := fleet.PlanShowResponse{Puts: []string{}, Deletes: []fleet.PlanDelete{}, KeyCount: s.keysOf(name)}
	for _, g := range plan.Groups {
		if name != "" && g.Deployment != name {
			continue
		}
		r.PutCount += len(g.Puts)
		for _, a := range g.Puts {
			r.Puts = append(r.Puts, fleet.DesiredKey(a.Pair))
		}
		r.DeleteCount += showDeletes(&r, g.Deletes, "", fleet.PlanDelete{})
	}
	r.WaitCount = showDeletes(&r, plan.Waiting, name, fleet.PlanDelete{Wait: true}) +
		showDeletes(&r, plan.Blocked, name, fleet.PlanDelete{Wait: true})
	r.HeldCount = showDeletes(&r, plan.Held, name, fleet.PlanDelete{Held: true})
	slices.Sort(r.Puts)
	slices.SortFunc(r.Deletes, func(a, b fleet.PlanDelete) int { return strings.Compare(a.Key, b.Key) })
	r.Puts, r.Deletes = cut(r.Puts, fleet.MaxLimit), cut(r.Deletes, fleet.MaxLimit)
	r.Hold = s.hold
	if plan.Hold != nil {
		r.Hold = plan.Hold.Value
	}
	return r
}

// showDeletes adds deletes in the manner of like and returns how many they are.
func showDeletes(r *fleet.PlanShowResponse, deletes []Delete, name fleet.DeploymentName, like fleet.PlanDelete) int {
	n := 0
	for _, d := range deletes {
		if name != "" && d.Pair.Deployment != name {
			continue
		}
		n++
		like.Key, like.Cause = fleet.DesiredKey(d.Pair), d.Cause
		r.Deletes = append(r.Deletes, like)
	}
	return n
}

// showInvalid adds the Deployments that cannot be applied, sorted.
func (s *State) showInvalid(r *fleet.PlanShowResponse, name fleet.DeploymentName) {
	var all []fleet.PlanInvalid
	for _, p := range s.deployments {
		if p.invalid != "" && (name == "" || name == p.name) {
			all = append(all, fleet.PlanInvalid{Deployment: p.name, Message: p.invalid})
		}
	}
	slices.SortFunc(all, func(a, b fleet.PlanInvalid) int {
		return strings.Compare(string(a.Deployment), string(b.Deployment))
	})
	r.Invalid, r.InvalidCount = cut(all, fleet.MaxInvalid), len(all)
}

// keysOf counts the keys that are stored of a Deployment, or all when name is empty.
func (s *State) keysOf(name fleet.DeploymentName) int {
	if name == "" {
		return s.keys
	}
	if p := s.deployments[name]; p != nil {
		return p.keys
	}
	return 0
}

// cut returns the first of a list.
func cut[T any](list []T, most int) []T { return list[:min(len(list), most)] }

// Targets returns the devices that hold a key of a Deployment, sorted; ok is false when neither the
// mirror nor the bucket knows the Deployment.
func (s *State) Targets(name fleet.DeploymentName) (devices []fleet.DeviceID, ok bool) {
	p := s.deployments[name]
	if p == nil || p.presence != live && p.keys == 0 {
		return nil, false
	}
	for d, x := range p.pairs {
		if x.stored != nil {
			devices = append(devices, d.id)
		}
	}
	slices.Sort(devices)
	return devices, true
}
