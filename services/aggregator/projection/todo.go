package projection

import (
	"iter"
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

// Missing reports whether any device asks: it is fresh, but without a usable info, or without a report on a
// pair that is desired on it, and should be asked to send everything again. An info from before the device's
// tombstone is not usable.
func (s *State) Missing() bool { return len(s.asking) > 0 }

// Asking is a device that asks. Its turn is another one when it asks again after it had ceased to.
type Asking struct {
	Device fleet.DeviceID
	Turn   uint64
}

// LastAsking returns the turn of the device that began to ask last. Turns rise with each that does.
func (s *State) LastAsking() uint64 { return s.unasked.turn }

// TakeAsking returns at most n of the devices that ask, whose turn is not after upTo and that were not
// taken yet, those that have asked for longest first.
func (s *State) TakeAsking(upTo uint64, n int) []Asking {
	var out []Asking
	s.unasked.take(upTo, n, func(p *place[*device]) {
		out = append(out, Asking{p.item.id, p.turn})
		s.unasked.leave(p)
		p.item.unasked = nil
	})
	return out
}

// StillAsking reports whether a device has not ceased to ask since it was taken.
func (s *State) StillAsking(a Asking) bool {
	d := s.devices[a.Device]
	return d != nil && s.asking[d] == a.Turn
}

// AskAnew puts the devices back that were taken: whoever takes them next knows of no request.
func (s *State) AskAnew() {
	for d := range s.asking {
		if d.unasked == nil {
			d.unasked = s.unasked.join(d)
			s.asking[d] = d.unasked.turn
		}
	}
}

// Leaving yields the devices that are being deleted, and those with a tombstone and keys in view, once nothing
// is desired on them.
func (s *State) Leaving() iter.Seq[fleet.DeviceID] { return ids(s.leaving) }

func ids(set map[*device]struct{}) iter.Seq[fleet.DeviceID] {
	return func(yield func(fleet.DeviceID) bool) {
		for d := range set {
			if !yield(d.id) {
				return
			}
		}
	}
}
