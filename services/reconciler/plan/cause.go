package plan

import "harmony.dev/fleet"

// causeOf says why the key of a pair that is out of scope is to be deleted: the first of
// [fleet.Cause]'s causes that holds. It is a function of the two mirror entries and the applied record.
func causeOf(p *deployment, d *device) fleet.Cause {
	switch {
	case p.deleted() || d.deleted():
		return fleet.CauseDeleted
	case d.presence == live && d.quarantined:
		return fleet.CauseQuarantined
	case p.vanished() || d.vanished() || p.otherUID():
		return fleet.CauseVanished
	case p.generation > p.appliedGeneration():
		return fleet.CauseEdited
	case p.generation < p.appliedGeneration():
		return fleet.CauseRegressed
	}
	return fleet.CauseRelabelled
}

// fromDeployment reports whether the cause lies in the Deployment's own change since it was applied.
// While such a delete is outstanding the change is not carried out, and _applied must not say so: the
// next plan would take the delete for a relabelled one.
func fromDeployment(p *deployment, c fleet.Cause) bool {
	return c == fleet.CauseEdited || c == fleet.CauseRegressed || c == fleet.CauseVanished && p.otherUID()
}

// byAbsence reports whether a pair is out of scope because one of its resources has no entry at all.
func (x *pair) byAbsence() bool {
	return x.deployment.presence == absent || x.device.presence == absent
}

// causedAt is the revision of the mirror that decided about a pair whose delete is doubtful: that of the entry
// that vanished, which decides alone, or else the newer of the two. So a device that is registered again is
// nothing new to ask about where the Deployment is gone; where that is only older, its labels decide as well.
func (m *mirror) causedAt(p *deployment, d *device) uint64 {
	switch {
	case p.vanished():
		return m.decided(&p.resource)
	case d.vanished():
		return m.decided(&d.resource)
	}
	return max(m.decided(&p.resource), m.decided(&d.resource))
}

// decided is the revision of the mirror that decided about a resource. An absent one has no entry of its own:
// it is absent as of _synced.
func (m *mirror) decided(r *resource) uint64 {
	if r.presence == absent {
		return m.syncedAt
	}
	return r.revision
}
