package projection

import "harmony.dev/fleet"

// Orphan is a key of the agents' buckets that belongs to nothing: the report of a pair that is not desired,
// or, of a device without a resource on which nothing is desired, its info, and its heartbeat once it is
// stale.
type Orphan struct {
	Bucket   string
	Key      string
	Revision uint64
}

// orphan is what stands in line for an Orphan.
type orphan interface{ export() Orphan }

type (
	unclaimed struct{ *pair }
	strayInfo struct{ *device }
	strayBeat struct{ *device }
)

func (o unclaimed) export() Orphan {
	return Orphan{fleet.BucketDeviceState, fleet.StateKey(o.id()), o.reportAt.revision}
}

func (o strayInfo) export() Orphan {
	return Orphan{fleet.BucketDeviceInfo, fleet.InfoKey(o.id), o.infoAt.revision}
}

func (o strayBeat) export() Orphan {
	return Orphan{fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey(o.id), o.heartbeat.revision}
}

// dismiss puts a device among those that leave and its own keys among the orphans, or takes them out. It
// depends on whether anything is desired on it.
func (s *State) dismiss(d *device) {
	idle := d.desired == 0
	going := d.registered() && d.mirror.Deleting || d.buried() && d.hasData()
	member(s.leaving, d, idle && going)
	stray := idle && !d.registered()
	s.orphans.admit(&d.strayInfo, strayInfo{d}, stray && d.infoAt.inView())
	s.orphans.admit(&d.strayBeat, strayBeat{d}, stray && d.heartbeat.inView() && (d.stale || !d.heartbeat.heard()))
}

// LastOrphan returns the turn of the key that became an orphan last. Turns rise with each that does.
func (s *State) LastOrphan() uint64 { return s.orphans.turn }

// TakeOrphans returns at most n of the orphans whose turn is not after upTo, the longest ones first, and
// gives them new turns: one that cannot be removed keeps nobody waiting.
func (s *State) TakeOrphans(upTo uint64, n int) []Orphan {
	var out []Orphan
	s.orphans.take(min(upTo, s.orphans.turn), n, func(p *place[orphan]) {
		out = append(out, p.item.export())
		s.orphans.leave(p)
		s.orphans.append(p)
	})
	return out
}
