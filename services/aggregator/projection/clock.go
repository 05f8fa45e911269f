package projection

import "time"

// SetCutoff tells since when a device must have been heard of: one that was last seen before t is
// stale. It costs O(log n) for each device that changes between fresh and stale, whose pairs are
// counted anew, and nothing for the others.
func (s *State) SetCutoff(t time.Time) {
	s.cutoff = stampOf(t)
	for {
		d, ok := s.fresh.top()
		if !ok || !s.overdue(d) {
			break
		}
		s.place(d)
	}
	for {
		d, ok := s.stale.top()
		if !ok || s.overdue(d) {
			break
		}
		s.place(d)
	}
}

// Newest returns the greatest lastSeen of the fleet, zero when no device has been heard of.
func (s *State) Newest() time.Time {
	if s.newestStale {
		s.newest, s.newestStale = 0, false
		for _, h := range [][]*device{s.fresh.items, s.stale.items} {
			for _, d := range h {
				s.newest = max(s.newest, d.lastSeen)
			}
		}
	}
	return s.newest.time()
}

// Known returns how many devices have been heard of.
func (s *State) Known() int { return len(s.fresh.items) + len(s.stale.items) }

// Stale returns how many of them are stale.
func (s *State) Stale() int { return len(s.stale.items) }

func (s *State) overdue(d *device) bool { return d.lastSeen < s.cutoff }

// restamp gives one key of a device its new origin; the zero Origin when it is gone. By a value that no device wrote
// the device is heard of as it was before.
func (s *State) restamp(d *device, key *origin, at Origin) {
	was := key.at
	if *key = originOf(at); key.inView() && key.at == 0 {
		key.at = was
	}
	switch {
	case key.at >= d.seen:
		d.seen = key.at
	case was == d.seen: // it was the newest, and is no more
		d.seen = d.newestKey()
	default:
		return
	}
	s.place(d)
}

func (d *device) newestKey() stamp {
	newest := max(d.infoAt.at, d.heartbeat.at)
	for _, p := range d.pairs {
		newest = max(newest, p.reportAt.at)
	}
	return newest
}

// place puts a device where its stamps say: into one of the heaps, or into none when it was never
// heard of. On a transition its pairs are counted anew.
func (s *State) place(d *device) {
	wasKnown, wasStale, before := d.known, d.stale, d.lastSeen

	d.known = d.seen != 0 || d.recorded()
	d.lastSeen = 0
	if d.known {
		d.lastSeen = max(d.seen, s.since)
	}
	d.stale = d.known && s.overdue(d)
	s.countUnseen(d)

	s.rehouse(d, wasStale)
	if d.lastSeen >= s.newest {
		s.newest = d.lastSeen
	} else if before == s.newest {
		s.newestStale = true
	}
	if d.known == wasKnown && d.stale == wasStale {
		if d.lastSeen > before && d.recordedStale() {
			s.changed[d] = struct{}{}
		}
		return
	}
	for _, p := range d.pairs {
		s.settle(p)
	}
	s.attend(d)
}

// rehouse moves a device within its heap, or from one to the other.
func (s *State) rehouse(d *device, wasStale bool) {
	if d.position != gone {
		from := &s.fresh
		if wasStale {
			from = &s.stale
		}
		if d.known && d.stale == wasStale {
			from.fix(d.position)
			return
		}
		from.remove(d.position)
	}
	switch {
	case !d.known:
	case d.stale:
		s.stale.push(d)
	default:
		s.fresh.push(d)
	}
}
