// Package garbage decides which keys of the agents' buckets may go.
//
// Who asks it holds the lease and has all sources in view. Two kinds of keys go, and both only while the
// mirror is whole, the brake holds nothing, and nothing is desired on the device (or, for a report, of
// the pair) any more:
//
//   - at once, those of a Device that is being deleted, and those of one with a tombstone that are older
//     than it. Newer ones are of a living agent that is about to register again;
//   - orphans, after OrphanAfter of time in view: a report of a pair that is not desired, and the info
//     and heartbeat of a device without a resource. A heartbeat stays while the device is alive.
//
// Each key is to be deleted on condition that it is still at the revision seen. When the keys of a
// Device that is being deleted are gone, its finalizer can be released. An orphan that stays, because it was
// written again meanwhile, waits for its time anew.
//
// The projection is locked meanwhile, so a plan costs as much as it deletes: the projection has the orphans
// in the order in which they became such, and only those whose time is over are looked at.
package garbage

import (
	"slices"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// Key is one key as it was seen.
type Key struct {
	Bucket   string
	Key      string
	Revision uint64
}

// Departure is a Device that is being deleted and on which nothing is desired any more. Its finalizer
// may be released once its keys are gone.
type Departure struct {
	Device fleet.DeviceID
	UID    string
	Keys   []Key
}

// Plan is what may be done.
type Plan struct {
	Deletes    []Key
	Departures []Departure
}

// maxStep is how much time one look may stand for: a process that was stopped did not look meanwhile.
const maxStep = 10 * time.Second

// Collector makes plans. It remembers for how long orphans have been such.
type Collector struct {
	orphanAfter time.Duration
	at          time.Time
	age         time.Duration // time in view
	orphans     projection.Turns
}

// NewCollector returns a Collector that has seen nothing.
func NewCollector(orphanAfter time.Duration) *Collector {
	return &Collector{orphanAfter: orphanAfter}
}

// Pause says that something is out of view: the time until the next Plan does not count.
func (c *Collector) Pause() { c.at = time.Time{} }

// Plan returns what may be done at the time now, at most about limit keys. Whole says that the mirror
// is.
func (c *Collector) Plan(now time.Time, s *projection.State, whole bool, limit int) Plan {
	if _, held := s.Hold(); held || !whole {
		c.Pause()
		return Plan{}
	}
	if !c.at.IsZero() {
		c.age += min(max(now.Sub(c.at), 0), maxStep)
	}
	c.at = now

	var p Plan
	for id := range s.Leaving() {
		if len(p.Deletes)+len(p.Departures) >= limit {
			break
		}
		p.leave(s, id)
	}
	c.orphans.Note(s.LastOrphan(), c.age)
	for _, o := range s.TakeOrphans(c.orphans.Until(c.age-c.orphanAfter), limit-len(p.Deletes)-len(p.Departures)) {
		p.Deletes = append(p.Deletes, Key(o))
	}
	return p
}

// leave adds the keys of a device that leaves.
func (p *Plan) leave(s *projection.State, id fleet.DeviceID) {
	d, ok := s.Device(id)
	if !ok || d.Desired > 0 {
		return
	}
	keys := keysOf(s, d)
	if d.Registered {
		p.Departures = append(p.Departures, Departure{Device: id, UID: d.Resource.UID, Keys: plain(keys)})
		return
	}
	old := slices.DeleteFunc(keys, func(k dated) bool { return k.at.After(d.ResourceAt.At) })
	p.Deletes = append(p.Deletes, plain(old)...)
}

type dated struct {
	Key
	at time.Time
}

func keysOf(s *projection.State, d projection.Device) []dated {
	var keys []dated
	add := func(bucket, key string, o projection.Origin) {
		if o.Revision != 0 {
			keys = append(keys, dated{Key{bucket, key, o.Revision}, o.At})
		}
	}
	for pair, at := range s.ReportsOf(d.ID) {
		add(fleet.BucketDeviceState, fleet.StateKey(pair), at)
	}
	add(fleet.BucketDeviceInfo, fleet.InfoKey(d.ID), d.InfoAt)
	add(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey(d.ID), d.HeartbeatAt)
	return keys
}

func plain(keys []dated) []Key {
	out := make([]Key, 0, len(keys))
	for _, k := range keys {
		out = append(out, k.Key)
	}
	return out
}
