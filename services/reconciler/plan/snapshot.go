package plan

import (
	"encoding/base64"

	"harmony.dev/fleet"
)

// Entry is one key of a device, as stored.
type Entry struct {
	Deployment fleet.DeploymentName
	Sequence   uint64
	Value      *Value
}

// DeviceKeys is what a device is to run.
type DeviceKeys struct {
	Entries []Entry // sorted by deployment; never changed once returned
	// Whole is false when the device must not conclude anything from what is absent: no patcher stands behind
	// the mirror, so both buckets may be old backups; a stored value was left out because nobody may obey it, or
	// because its delete waits; or a key that the device may have had is not there because it cannot be made now: the
	// Device is invalid, or a Deployment.
	Whole       bool
	Quarantined bool // nothing is to run there, whatever is stored
}

// DeviceKeys returns what a device is to run, or a [fleet.Error]: not found for a device without a
// resource, unavailable while its keys are not what the plan may make them now. Deployments that are stuck,
// because the bucket refuses them, do not count: their keys are answered as they are stored. So are those
// that a hold keeps. Keys whose delete waits, for the quiet or for a mirror to trust, are left out, and of those that a hold keeps the ones
// that came with a backup: who runs them goes on, and nobody starts what the bucket, rolled back or restored, has again.
func (s *State) DeviceKeys(id fleet.DeviceID, stuck func(fleet.DeploymentName) bool) (DeviceKeys, error) {
	d := s.devices[id]
	switch {
	case d == nil || d.presence == absent || d.presence == tombstone:
		return DeviceKeys{}, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no Device %s: keep running what you run", id)
	case d.presence == unknown:
		return DeviceKeys{}, fleet.Errorf(fleet.CodeUnavailable, "DeviceUnknown", "the mirror's entry of %s cannot be read", id)
	case d.quarantined:
		return DeviceKeys{Whole: s.mirror.vouched(), Quarantined: true}, nil
	}
	whole, leaving := s.mirror.vouched() && len(s.unmade) == 0, false
	for _, x := range d.pairs {
		if s.imminent(x) && !stuck(x.deployment.name) {
			return DeviceKeys{}, fleet.Errorf(fleet.CodeUnavailable, "Converging", "writes for %s are under way: ask again", id)
		}
		whole = whole && x.obeyed()
		leaving = leaving || s.leaving(x)
	}
	if leaving {
		return DeviceKeys{Entries: s.staying(d)}, nil
	}
	return DeviceKeys{Entries: d.stored(), Whole: whole && !d.invalid}, nil
}

// imminent reports whether the next plan writes the pair's key.
func (s *State) imminent(x *pair) bool {
	switch x.action {
	case put:
		return !x.deployment.regressed()
	case remove:
		return s.mirror.vouched() && !causeOf(x.deployment, x.device).Doubtful()
	default:
		return false
	}
}

// leaving reports whether the pair's key is to go, and no hold keeps it. A hold keeps no key that came with a backup: what
// it wishes for may have been deleted before the bucket was restored.
func (s *State) leaving(x *pair) bool {
	if x.action != remove {
		return false
	}
	if held := s.hold != nil && !s.hold.Approved; !held || !causeOf(x.deployment, x.device).Doubtful() {
		return true
	}
	_, older := s.older[x]
	return older
}

// staying returns the device's entries without those that are to go.
func (s *State) staying(d *device) []Entry {
	entries := make([]Entry, 0, d.keys)
	for _, x := range d.pairs {
		if x.obeyed() && !s.leaving(x) {
			entries = append(entries, x.entry())
		}
	}
	return entries
}

func (x *pair) entry() Entry { return Entry{x.deployment.name, x.revision, x.stored} }

// obeyed reports whether an agent may go by the stored value.
func (x *pair) obeyed() bool { return x.stored != nil && !x.foreign && x.stored.valid }

// stored returns the device's entries, built when they were last asked for after a change.
func (d *device) stored() []Entry {
	if d.entries == nil {
		d.entries = make([]Entry, 0, d.keys)
		for _, x := range d.pairs {
			if x.obeyed() {
				d.entries = append(d.entries, x.entry())
			}
		}
	}
	return d.entries
}

// Digest returns the [fleet.Digest] of entries.
func Digest(entries []Entry) string {
	hashes := make(map[fleet.DeploymentName]string, len(entries))
	for _, e := range entries {
		hashes[e.Deployment] = e.Value.Hash
	}
	return fleet.Digest(hashes)
}

// entryOverhead is about what an entry takes on the wire beside its name and value.
const entryOverhead = 80

// Page returns the entries after a name that fit into limit bytes on the wire, at least one, and the
// name to go on after when there are more.
func Page(entries []Entry, after fleet.DeploymentName, limit int) (page []fleet.SnapshotEntry, next fleet.DeploymentName) {
	page = []fleet.SnapshotEntry{}
	size := 0
	for _, e := range entries {
		if e.Deployment <= after {
			continue
		}
		size += base64.StdEncoding.EncodedLen(len(e.Value.Bytes)) + len(e.Deployment) + entryOverhead
		if size > limit && len(page) > 0 {
			return page, page[len(page)-1].Deployment
		}
		page = append(page, fleet.SnapshotEntry{Deployment: e.Deployment, Sequence: e.Sequence, Value: e.Value.Bytes})
	}
	return page, ""
}
