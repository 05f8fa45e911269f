package projection

import (
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// device is all that is known of one device.
type device struct {
	id           fleet.DeviceID
	mirror       *fleet.MirrorDevice // nil when the mirror has no entry; it may be a tombstone
	mirrorAt     origin
	info         *fleet.DeviceInfo // nil when there is no good one
	infoAt       origin
	infoRevision uint64 // of info: infoAt may be of a malformed one since
	heartbeat    origin
	pairs        []*pair // sorted by deployment
	spares       map[fleet.DeploymentName]*spare

	seen     stamp // the newest stamp of its keys, 0 when it has none
	lastSeen stamp // seen, for a known device not before the heartbeat bucket's creation
	position int32 // in its heap
	desired  int32 // pairs with a wish
	owed     int32 // of these, pairs without a report

	unasked              *place[*device]
	strayInfo, strayBeat *place[orphan]

	known       bool // it has been heard of, now or according to its resource
	stale       bool
	unseen      bool // it has a resource, and has never been heard of
	infoSpoiled bool // the last info was malformed
}

func (d *device) setPosition(i int32) { d.position = i }

func silentLonger(a, b *device) bool  { return a.lastSeen < b.lastSeen }
func silentShorter(a, b *device) bool { return a.lastSeen > b.lastSeen }

func (d *device) find(name fleet.DeploymentName) (i int, ok bool) {
	return slices.BinarySearchFunc(d.pairs, name, func(p *pair, n fleet.DeploymentName) int {
		return strings.Compare(string(p.deployment.name), string(n))
	})
}

// registered reports whether there is a Device resource.
func (d *device) registered() bool { return d.mirror != nil && d.mirror.Tombstone == nil }

// buried reports whether the mirror has a tombstone for it.
func (d *device) buried() bool { return d.mirror != nil && d.mirror.Tombstone != nil }

func (d *device) hasData() bool {
	return d.infoAt.inView() || d.heartbeat.inView() || len(d.spares) > 0 ||
		slices.ContainsFunc(d.pairs, func(p *pair) bool { return p.reportAt.inView() })
}

// recorded reports whether its resource says that it was heard of once.
func (d *device) recorded() bool {
	return d.registered() && (d.mirror.Status.State == fleet.DeviceFresh || d.mirror.Status.State == fleet.DeviceStale)
}

// recordedStale reports whether its resource says that it is silent.
func (d *device) recordedStale() bool {
	return d.registered() && d.mirror.Status.State == fleet.DeviceStale
}

func (d *device) count(t tally, n int32) {
	if t.class != none {
		d.desired += n
	}
	if t.unreported {
		d.owed += n
	}
}

// count counts a pair of a device as another class.
func (s *State) count(d *device, was, is tally) {
	idle := d.desired == 0
	d.count(was, -1)
	d.count(is, +1)
	if idle != (d.desired == 0) {
		s.dismiss(d)
	}
}

// NeverSeen returns how many devices have a resource and were never heard of.
func (s *State) NeverSeen() int { return s.unseen }

// countUnseen counts a device as what it is now.
func (s *State) countUnseen(d *device) {
	if is := !d.known && d.registered(); is != d.unseen {
		d.unseen = is
		if is {
			s.unseen++
		} else {
			s.unseen--
		}
	}
}

// PutDevice takes in a mirror entry of a Device, which may be a tombstone.
func (s *State) PutDevice(id fleet.DeviceID, m fleet.MirrorDevice, at Origin) {
	d := s.device(id)
	d.mirror, d.mirrorAt = &m, originOf(at)
	s.place(d)
	s.attend(d)
}

// DropDevice takes note that the mirror has no entry of the Device.
func (s *State) DropDevice(id fleet.DeviceID) {
	d := s.devices[id]
	if d == nil {
		return
	}
	d.mirror, d.mirrorAt = nil, origin{}
	s.place(d)
	s.attend(d)
	s.forgetDevice(d)
}

// PutInfo takes in what a device says of itself.
func (s *State) PutInfo(id fleet.DeviceID, info fleet.DeviceInfo, at Origin) {
	d := s.device(id)
	d.info, d.infoRevision, d.infoSpoiled = &info, at.Revision, false
	s.restamp(d, &d.infoAt, at)
	s.attend(d)
}

// SpoilInfo takes note of a malformed info: the last good one is kept, and the device was heard of.
func (s *State) SpoilInfo(id fleet.DeviceID, at Origin) {
	d := s.device(id)
	d.infoSpoiled = true
	s.restamp(d, &d.infoAt, at)
	s.attend(d)
}

// DropInfo takes note that there is no info of the device.
func (s *State) DropInfo(id fleet.DeviceID) {
	d := s.devices[id]
	if d == nil {
		return
	}
	d.info, d.infoSpoiled = nil, false
	s.restamp(d, &d.infoAt, Origin{})
	s.attend(d)
	s.forgetDevice(d)
}

// PutHeartbeat takes note that the device was heard of.
func (s *State) PutHeartbeat(id fleet.DeviceID, at Origin) {
	d := s.device(id)
	first := !d.heartbeat.heard()
	s.restamp(d, &d.heartbeat, at)
	if first {
		s.attend(d)
	}
}

// DropHeartbeat takes note that there is no heartbeat of the device.
func (s *State) DropHeartbeat(id fleet.DeviceID) {
	d := s.devices[id]
	if d == nil {
		return
	}
	s.restamp(d, &d.heartbeat, Origin{})
	s.attend(d)
	s.forgetDevice(d)
}

// SetHeartbeatsSince tells when the heartbeat bucket was created. It touches every device: it is called
// once for each incarnation of the bucket.
func (s *State) SetHeartbeatsSince(created time.Time) {
	if s.since == stampOf(created) {
		return
	}
	s.since = stampOf(created)
	for _, d := range s.devices {
		s.place(d)
	}
}

// DoubtInfos says that infos of up to a revision came with a backup: each may not be the last one of its device. It touches
// every device: it is called once for each reading of the bucket.
func (s *State) DoubtInfos(upTo uint64) {
	if s.doubtedInfos == upTo {
		return
	}
	s.doubtedInfos = upTo
	for _, d := range s.devices {
		s.attend(d)
	}
}

// infoDoubted reports whether the last good info may not be the last one.
func (s *State) infoDoubted(d *device) bool { return d.info != nil && d.infoRevision <= s.doubtedInfos }

// attend puts a device into the sets of those that need something done, or takes it out.
func (s *State) attend(d *device) {
	fresh := d.known && !d.stale
	mute := !d.infoAt.heard() || s.infoDoubted(d) || d.buried() && d.infoAt.at <= d.mirrorAt.at
	going := d.registered() && d.mirror.Deleting
	s.ask(d, fresh && !going && (mute || d.owed > 0))
	s.dismiss(d)
	s.changed[d] = struct{}{}
}

// ask puts a device among those that ask, or takes it out.
func (s *State) ask(d *device, in bool) {
	if _, is := s.asking[d]; is == in {
		return
	}
	s.unasked.admit(&d.unasked, d, in)
	if !in {
		delete(s.asking, d)
		return
	}
	s.asking[d] = d.unasked.turn
}
