package projection

import (
	"encoding/hex"
	"iter"
	"maps"
	"slices"
	"time"

	"harmony.dev/fleet"
)

// Deployment is what the projection has of a Deployment. It shares no memory that changes.
type Deployment struct {
	Name       fleet.DeploymentName
	Registered bool // the mirror has it, and no tombstone
	UID        string
	Generation int64
	Selector   fleet.Selector
	ScoreType  string
	Deleting   bool
	Tombstone  *fleet.Tombstone
	Applied    *fleet.Applied // nil when the reconciler has no record of it
	AppliedAt  time.Time      // the server's stamp on it
	Aggregate  fleet.Aggregate
	Owed       int // pairs of fresh devices that have no report, or only a doubted one
}

// Device is what the projection has of a device. It shares no memory that changes.
type Device struct {
	ID          fleet.DeviceID
	Registered  bool // the mirror has it, and no tombstone
	Resource    fleet.MirrorDevice
	ResourceAt  Origin
	Info        *fleet.DeviceInfo // the last good one, nil when there is none
	InfoAt      Origin
	InfoSpoiled bool // the last one was malformed
	InfoDoubted bool // it came with a backup: the device may have said another since
	HeartbeatAt Origin
	Seen        time.Time // the newest stamp of its keys, zero when it has none
	Known       bool      // it has been heard of, now or according to its resource
	LastSeen    time.Time // what the staleness of a known device is judged by
	Stale       bool
	Desired     int // pairs that are desired on it
	Owed        int // of these, pairs without any report
}

// State returns what the device is shown as.
func (d Device) State() fleet.DeviceState {
	switch {
	case !d.Known:
		return fleet.DeviceNeverSeen
	case d.Stale:
		return fleet.DeviceStale
	}
	return fleet.DeviceFresh
}

// Pair is what the projection has of a pair.
type Pair struct {
	fleet.PairView
	Desired  bool
	Trusted  bool   // the desired value is the reconciler's and of the contract
	WishUID  string // of the Deployment that the desired value is of
	Reported bool   // there is a report, good or malformed
	Spoiled  bool   // the last report was malformed
	ReportAt Origin
}

// Deployment returns one Deployment.
func (s *State) Deployment(name fleet.DeploymentName) (Deployment, bool) {
	d := s.deployments[name]
	if d == nil {
		return Deployment{}, false
	}
	out := Deployment{
		Name:       d.name,
		Registered: d.registered(),
		Applied:    d.applied,
		AppliedAt:  d.appliedAt.time(),
		Aggregate:  d.counts.aggregate(),
		Owed:       d.counts.owed,
	}
	out.Aggregate.LastError = d.lastError()
	if r := d.mirror; r != nil {
		out.UID, out.Generation, out.Selector = r.uid, r.generation, r.selector
		out.ScoreType, out.Deleting, out.Tombstone = r.scoreType, r.deleting, r.tombstone
	}
	return out, true
}

func (d *deployment) lastError() *fleet.LastError {
	p, ok := d.failed.top()
	if !ok {
		return nil
	}
	return &fleet.LastError{Device: p.device.id, Message: p.report.failure.message, At: p.report.failure.at}
}

// Device returns one device.
func (s *State) Device(id fleet.DeviceID) (Device, bool) {
	d := s.devices[id]
	if d == nil {
		return Device{}, false
	}
	out := d.export()
	out.InfoDoubted = s.infoDoubted(d)
	return out, true
}

func (d *device) export() Device {
	out := Device{
		ID:          d.id,
		Registered:  d.registered(),
		ResourceAt:  d.mirrorAt.export(),
		Info:        d.info,
		InfoAt:      d.infoAt.export(),
		InfoSpoiled: d.infoSpoiled,
		HeartbeatAt: d.heartbeat.export(),
		Seen:        d.seen.time(),
		Known:       d.known,
		LastSeen:    d.lastSeen.time(),
		Stale:       d.stale,
		Desired:     int(d.desired),
		Owed:        int(d.owed),
	}
	if d.mirror != nil {
		out.Resource = *d.mirror
	}
	return out
}

// Pair returns one pair.
func (s *State) Pair(id fleet.Pair) (Pair, bool) {
	p := s.lookup(id)
	if p == nil {
		return Pair{}, false
	}
	return p.export(), true
}

func (p *pair) export() Pair {
	out := Pair{
		PairView: fleet.PairView{
			Device:      p.device.id,
			Deployment:  p.deployment.name,
			Class:       p.tally.class.export(),
			LastKnown:   p.tally.last.export(),
			LastEventAt: p.report.eventAt,
		},
		Desired:  p.wish != nil,
		Reported: p.reportAt.inView(),
		Spoiled:  p.report.spoiled,
		ReportAt: p.reportAt.export(),
	}
	if p.wish != nil && p.wish.uid != "" {
		out.Trusted, out.WishUID = true, p.wish.uid
		out.DesiredHash = hex.EncodeToString(p.wish.hash[:])
	}
	if p.report.class != none {
		out.ObservedHash = hex.EncodeToString(p.report.hash[:])
		out.Phase = p.report.phase()
	}
	if p.report.failure != nil {
		out.LastError = p.report.failure.message
	}
	return out
}

func (r *report) phase() fleet.Phase {
	switch r.class {
	case running:
		return fleet.PhaseRunning
	case failed:
		return fleet.PhaseFailed
	case pending, stale, none:
	}
	return fleet.PhasePending
}

// Hold returns the brake's hold. inView is true also when its value cannot be read.
func (s *State) Hold() (h *fleet.Hold, inView bool) { return s.hold, s.holdInView }

// DeploymentNames returns the names of all Deployments that a mirror entry, an applied record or a pair
// is in view of, sorted. The caller must not change it.
func (s *State) DeploymentNames() []fleet.DeploymentName {
	if s.deploymentNames == nil {
		s.deploymentNames = slices.Sorted(maps.Keys(s.deployments))
	}
	return s.deploymentNames
}

// DeviceNames returns the ids of all devices that any key is in view of, sorted. The caller may
// keep it, and must not change it.
func (s *State) DeviceNames() []fleet.DeviceID {
	if s.deviceNames == nil {
		s.deviceNames = slices.Sorted(maps.Keys(s.devices))
	}
	return s.deviceNames
}

// PairsOf yields the pairs of a device, sorted by Deployment.
func (s *State) PairsOf(id fleet.DeviceID) iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		if d := s.devices[id]; d != nil {
			yieldAll(d.pairs, yield)
		}
	}
}

// Desired reports whether a pair is desired.
func (s *State) Desired(id fleet.Pair) bool {
	p := s.lookup(id)
	return p != nil && p.wish != nil
}

// ClassesOn yields what the pairs that are desired on a device count as, in no order.
func (s *State) ClassesOn(id fleet.DeviceID) iter.Seq[fleet.Class] {
	return func(yield func(fleet.Class) bool) {
		d := s.devices[id]
		if d == nil {
			return
		}
		for _, p := range d.pairs {
			if p.wish != nil && !yield(p.tally.class.export()) {
				return
			}
		}
	}
}

// ClassesFor yields the devices that a Deployment is desired on and what they count as, in no order.
func (s *State) ClassesFor(name fleet.DeploymentName) iter.Seq2[fleet.DeviceID, fleet.Class] {
	return func(yield func(fleet.DeviceID, fleet.Class) bool) {
		d := s.deployments[name]
		if d == nil {
			return
		}
		for _, p := range d.pairs {
			if p.wish != nil && !yield(p.device.id, p.tally.class.export()) {
				return
			}
		}
	}
}

func yieldAll(pairs []*pair, yield func(Pair) bool) {
	for _, p := range pairs {
		if !yield(p.export()) {
			return
		}
	}
}

// Beats yields when each device last sent a heartbeat, in no order.
func (s *State) Beats() iter.Seq[Origin] {
	return func(yield func(Origin) bool) {
		for _, d := range s.devices {
			if d.heartbeat.heard() && !yield(d.heartbeat.export()) {
				return
			}
		}
	}
}
