package plan

import (
	"maps"
	"time"

	"harmony.dev/fleet"
)

func (s *State) applyDevice(d *device, m Message, at time.Time) error {
	switch {
	case m.Op == Put:
		entry, err := read(m, fleet.DecodeMirrorDevice)
		if err != nil {
			return s.doubtDevice(d, at, err)
		}
		s.setDevice(d, entry, m.Revision, at)
	case m.Op == Gone, m.Op == Marker && m.Own, m.Op == Expired && d.presence == tombstone:
		s.setDevice(d, fleet.MirrorDevice{}, 0, at) // a tombstone's time to live ends in absence
	case m.Op == Expired:
		_ = s.doubtDevice(d, at, nil) // whose time ended is not known: no absence, but nothing to show either
	default:
		return s.doubtDevice(d, at, ErrForeign)
	}
	return nil
}

// doubtDevice keeps the last good entry; without one the device is unknown.
func (s *State) doubtDevice(d *device, at time.Time, err error) error {
	kept := d.presence != absent && d.presence != unknown
	if d.presence == absent {
		d.presence = unknown
		s.judgeDevice(d, at)
	}
	return &Aside{Err: err, Kept: kept}
}

// setDevice replaces a device's entry; the zero entry means that there is none.
func (s *State) setDevice(d *device, e fleet.MirrorDevice, revision uint64, at time.Time) {
	next := device{resource: resourceOf(e.UID, e.Deleting, e.Tombstone), labels: e.Labels, quarantined: e.Quarantined}
	next.revision, next.invalid = revision, e.Invalid != ""
	s.countDevice(d, -1)
	if sameFate(d, &next) {
		next.revision = d.revision
	}
	relabelled := !maps.Equal(d.labels, next.labels)
	d.resource, d.labels, d.quarantined, d.invalid = next.resource, next.labels, next.quarantined, next.invalid
	s.countDevice(d, +1)
	s.judgeDevice(d, at)
	if relabelled || d.presence == live {
		s.seekDeployments(d, at)
	}
	s.release(nil, d)
}

// sameFate reports whether two entries of a device decide alike about its pairs: a device that only
// changed its status has the revision of before, so that an approval goes on covering it.
func sameFate(a, b *device) bool {
	return a.presence == b.presence && a.uid == b.uid && a.deleting == b.deleting && a.cause == b.cause &&
		a.quarantined == b.quarantined && a.invalid == b.invalid && maps.Equal(a.labels, b.labels)
}

// judgeDevice judges the pairs that a device has.
func (s *State) judgeDevice(d *device, at time.Time) {
	pairs := make([]*pair, len(d.pairs))
	copy(pairs, d.pairs)
	for _, x := range pairs {
		s.judge(x, at)
	}
}

// seekDeployments gives a live device the pairs that it is in the scope of and does not have yet.
func (s *State) seekDeployments(d *device, at time.Time) {
	if d.presence != live || d.out() {
		return
	}
	for p := range s.selectors.Candidates(d.labels) {
		if p.pairs[d] == nil && scopeOf(p, d) == inside {
			s.judge(link(p, d), at)
		}
	}
}

func (s *State) countDevice(d *device, n int) {
	if d.presence != live {
		return
	}
	if !d.deleting {
		s.alive.devices += n
		return
	}
	if n > 0 {
		s.leaver[d] = struct{}{}
	} else {
		delete(s.leaver, d)
	}
}
