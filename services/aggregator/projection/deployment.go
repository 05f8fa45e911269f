package projection

import (
	"time"

	"harmony.dev/fleet"
)

// deployment is all that is known of one Deployment.
type deployment struct {
	name    fleet.DeploymentName
	mirror  *resource // nil when the mirror has no entry; it may be a tombstone
	applied *fleet.Applied
	// appliedAt is the server's stamp on it.
	appliedAt stamp
	pairs     []*pair // in no order
	counts    counts  // of the pairs
	awaited   stamp   // of the oldest report that waits to be shown by a status, 0 when none does
	failed    heap[*pair]
}

// resource is a mirror entry without the score's data, which nobody asks the projection for.
type resource struct {
	uid        string
	generation int64
	selector   fleet.Selector
	scoreType  string
	deleting   bool
	tombstone  *fleet.Tombstone
}

func (d *deployment) registered() bool { return d.mirror != nil && d.mirror.tombstone == nil }

// accepts reports whether a desired value of this uid is a wish of the present Deployment. An older
// one of the same name is not: its reports say nothing about this one.
func (d *deployment) accepts(uid string) bool {
	return !d.registered() || d.mirror.uid == uid
}

// PutDeployment takes in a mirror entry of a Deployment, which may be a tombstone.
func (s *State) PutDeployment(name fleet.DeploymentName, m fleet.MirrorDeployment) {
	d := s.deployment(name)
	s.setMirror(d, &resource{
		uid:        m.UID,
		generation: m.Generation,
		selector:   m.TargetSelector,
		scoreType:  m.Score.Type,
		deleting:   m.Deleting,
		tombstone:  m.Tombstone,
	})
}

// DropDeployment takes note that the mirror has no entry of the Deployment.
func (s *State) DropDeployment(name fleet.DeploymentName) {
	if d := s.deployments[name]; d != nil {
		s.setMirror(d, nil)
		s.forgetDeployment(d)
	}
}

func (s *State) setMirror(d *deployment, r *resource) {
	was := d.presentUID()
	d.mirror = r
	s.dirty[d] = struct{}{}
	if d.presentUID() == was {
		return
	}
	for _, p := range d.pairs {
		s.settle(p)
	}
}

// presentUID returns the uid of the resource, "" when there is none.
func (d *deployment) presentUID() string {
	if !d.registered() {
		return ""
	}
	return d.mirror.uid
}

// PutApplied takes in how far the reconciler has carried a Deployment.
func (s *State) PutApplied(name fleet.DeploymentName, a fleet.Applied, at time.Time) {
	d := s.deployment(name)
	d.applied, d.appliedAt = &a, stampOf(at)
	s.dirty[d] = struct{}{}
}

// DropApplied takes note that the reconciler has no record of the Deployment.
func (s *State) DropApplied(name fleet.DeploymentName) {
	if d := s.deployments[name]; d != nil {
		d.applied, d.appliedAt = nil, 0
		s.dirty[d] = struct{}{}
		s.forgetDeployment(d)
	}
}

// SetHold takes in the brake's hold. inView without a hold means that its key has a value which cannot
// be read: as long as there is any, nothing may be purged.
func (s *State) SetHold(inView bool, h *fleet.Hold) {
	s.holdInView, s.hold = inView, h
}
