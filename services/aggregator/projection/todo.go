package projection

import (
	"iter"
	"maps"
	"slices"

	"harmony.dev/fleet"
)

// TakeDirty returns the Deployments whose status may have changed since the last call, sorted, and
// forgets them.
func (s *State) TakeDirty() []fleet.DeploymentName {
	names := make([]fleet.DeploymentName, 0, len(s.dirty))
	for d := range s.dirty {
		names = append(names, d.name)
	}
	clear(s.dirty)
	slices.Sort(names)
	return names
}

// MarkDirty puts a Deployment back: its status was not delivered.
func (s *State) MarkDirty(name fleet.DeploymentName) {
	if d := s.deployments[name]; d != nil {
		s.dirty[d] = struct{}{}
	}
}

// MarkAllDirty makes every Deployment dirty.
func (s *State) MarkAllDirty() {
	for _, d := range s.deployments {
		s.dirty[d] = struct{}{}
	}
}

// Dirty returns how many Deployments are dirty.
func (s *State) Dirty() int { return len(s.dirty) }

// TakeChanged returns at most n devices whose resource may have to change, in no order, and forgets
// them. It changes with its resource, its info, and between fresh, stale and never seen; not with each
// heartbeat.
func (s *State) TakeChanged(n int) []fleet.DeviceID {
	ids := make([]fleet.DeviceID, 0, min(n, len(s.changed)))
	for d := range s.changed {
		if len(ids) == n {
			break
		}
		ids = append(ids, d.id)
		delete(s.changed, d)
	}
	return ids
}

// MarkChanged puts a device back: its resource was not brought up to date.
func (s *State) MarkChanged(id fleet.DeviceID) {
	if d := s.devices[id]; d != nil {
		s.changed[d] = struct{}{}
	}
}

// MarkAllChanged makes TakeChanged return every device.
func (s *State) MarkAllChanged() {
	for _, d := range s.devices {
		s.changed[d] = struct{}{}
	}
}

// Asking yields the devices that should be asked to send everything again: fresh, but without a usable
// info, or without a report on a pair that is desired on them. An info from before the device's
// tombstone is not usable.
func (s *State) Asking() iter.Seq[fleet.DeviceID] { return ids(s.asking) }

// Missing reports whether [State.Asking] yields any device.
func (s *State) Missing() bool { return len(s.asking) > 0 }

// IsAsking reports whether [State.Asking] yields the device.
func (s *State) IsAsking(id fleet.DeviceID) bool {
	d := s.devices[id]
	if d == nil {
		return false
	}
	_, in := s.asking[d]
	return in
}

// Leaving yields the devices that are being deleted, and those with a tombstone and keys in view.
func (s *State) Leaving() iter.Seq[fleet.DeviceID] { return ids(s.leaving) }

// Strays yields the devices with an info or a heartbeat in view, but without a resource.
func (s *State) Strays() iter.Seq[fleet.DeviceID] { return ids(s.strays) }

// Unclaimed yields the pairs with a report in view that are not desired.
func (s *State) Unclaimed() iter.Seq[fleet.Pair] {
	return func(yield func(fleet.Pair) bool) {
		for p := range maps.Keys(s.unclaimed) {
			if !yield(p.id()) {
				return
			}
		}
	}
}

func ids(set map[*device]struct{}) iter.Seq[fleet.DeviceID] {
	return func(yield func(fleet.DeviceID) bool) {
		for d := range set {
			if !yield(d.id) {
				return
			}
		}
	}
}
