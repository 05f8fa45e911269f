package plan

import (
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
)

// presence is what the mirror says of a resource.
type presence uint8

const (
	absent    presence = iota // no message under its key
	unknown                   // a message that cannot be obeyed, and nothing good before it
	live                      // the resource exists
	tombstone                 // the apiserver no longer has it
)

// resource is what Deployments and Devices have in common.
type resource struct {
	presence presence
	revision uint64 // of the mirror entry that last changed what decides about its pairs
	uid      string
	deleting bool
	unread   bool                 // of an unknown one: there is something that cannot be obeyed
	cause    fleet.TombstoneCause // of a tombstone
}

// deleted reports whether a person deleted the resource.
func (r *resource) deleted() bool {
	return r.presence == live && r.deleting || r.presence == tombstone && r.cause == fleet.TombstoneDeleted
}

// vanished reports whether the resource is gone and nobody is known to have deleted it.
func (r *resource) vanished() bool {
	return r.presence == absent || r.presence == tombstone && r.cause != fleet.TombstoneDeleted
}

// deployment is a Deployment, its pairs and its applied record. It is also there for a name that has
// nothing but stored keys.
type deployment struct {
	resource
	name       fleet.DeploymentName
	generation int64
	spec       fleet.Selector
	matcher    selector.Matcher
	value      *Value // wanted on each device in scope; nil when invalid
	invalid    string // why it cannot be applied

	pairs     map[*device]*pair   // stored or in scope
	differing map[*pair]time.Time // of these, the ones to put or to delete, and since when
	keys      int                 // pairs stored

	applied   *fleet.Applied // as stored; nil means none
	unapplied bool           // its record was overwritten or deleted by somebody else: to be written again
	whole     uint64         // how many losses of desired-state there had been when it last had all of its keys
	robbed    bool           // somebody else has deleted a key since
}

// out reports whether the Deployment wants no key at all.
func (p *deployment) out() bool { return p.deleted() || p.vanished() }

// otherUID reports whether what was applied under this name was another resource.
func (p *deployment) otherUID() bool {
	return p.presence == live && p.applied != nil && p.applied.UID != p.uid
}

// appliedGeneration returns the generation that desired-state was last brought to, 0 for none.
func (p *deployment) appliedGeneration() int64 {
	if p.applied == nil {
		return 0
	}
	return p.applied.Generation
}

// regressed reports whether the resource is older than what was applied: it came out of a backup.
func (p *deployment) regressed() bool {
	return p.presence == live && !p.otherUID() && p.generation < p.appliedGeneration()
}

// stuck reports whether the Deployment can be given no key as it is.
func (p *deployment) stuck() bool { return p.invalid != "" || p.unread }

// isUnmade reports whether a Deployment is stuck and may lack keys: it has none anywhere, or keys may be gone since it
// last had all of them. If it had keys that are no more, devices run it and nothing here says so.
func (s *State) isUnmade(p *deployment) bool {
	return p.stuck() && (p.keys == 0 || p.robbed || p.whole < s.losses)
}

// noteWhole takes note that a Deployment has all of its keys now, if it has. That is so when it is in the mirror as it
// is to be: an entry of an earlier mirror may have other devices in its scope.
func (s *State) noteWhole(p *deployment) {
	if p.presence == live && !p.stuck() && len(p.differing) == 0 && s.mirror.vouched() && !s.mirror.reading {
		p.whole, p.robbed = s.losses, false
	}
}

// device is a Device and its pairs. It is also there for an id that has nothing but stored keys.
type device struct {
	resource
	id          fleet.DeviceID
	labels      map[string]string
	quarantined bool
	invalid     bool    // there is such a Device, and its entry says no more: its keys stay as they are
	pairs       []*pair // sorted by deployment
	keys        int     // pairs stored
	entries     []Entry // what it is to run, as stored; nil means to be built
}

// out reports whether the device is to have no key at all.
func (d *device) out() bool {
	return d.deleted() || d.vanished() || d.presence == live && d.quarantined
}
