// Package registry decides which Device resources are to be created or changed.
//
// A device without a resource is registered from its info, if that was stored later than the tombstone:
// deleting a living device is a reset, and old info brings nobody back. A registered device gets the
// labels and the inventory of its info, and its state. Absent or malformed info changes nothing, nor does one that came with a
// backup where the resource has a later one, and neither does any of a Device of which the mirror shows no more than that it
// is there.
//
// The resource changes on transitions only. What the mirror shows of it is the memory of what was
// written: a restart with the same input wants nothing. Two rules keep the number of writes down:
//
//   - While the whole fleet is silent no device becomes stale in its resource, nor while the devices come
//     back one after the other: that is one incident, and health tells it.
//   - A device that the resource calls stale is fresh again only when it was heard of since. A new
//     heartbeat bucket, which has forgotten when, is no sign of life.
package registry

import (
	"maps"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// Want is what a Device resource should be.
type Want struct {
	Device fleet.DeviceID
	UID    string // empty: create it if there is none
	Labels map[string]string
	Status fleet.DeviceStatus
}

// Judge returns what the resource of a device should be; ok is false when it is so already. Incident
// says that the whole fleet is silent, or was just now.
func Judge(d projection.Device, incident bool) (w Want, ok bool) {
	if !d.Registered {
		return register(d)
	}
	if d.Resource.Deleting || d.Resource.Invalid != "" {
		return Want{}, false
	}
	was := d.Resource
	w = Want{Device: d.ID, UID: was.UID, Labels: was.Reported, Status: was.Status}
	if d.Info != nil && !superseded(d) {
		w.Labels, w.Status.Inventory, w.Status.AgentVersion = d.Info.Labels, d.Info.Inventory, d.Info.AgentVersion
	}
	w.Status.State, w.Status.LastSeen = state(d, incident)
	return w, !maps.Equal(w.Labels, was.Reported) || !equal(w.Status, was.Status)
}

// superseded reports whether the resource has what the device said, which may be later than the info. One that no device has
// said anything for has nothing.
func superseded(d projection.Device) bool {
	was := d.Resource
	return d.InfoDoubted && (len(was.Reported) > 0 || len(was.Status.Inventory) > 0 || was.Status.AgentVersion != "")
}

// register returns the resource of a device that has none.
func register(d projection.Device) (Want, bool) {
	if d.Info == nil || d.InfoSpoiled {
		return Want{}, false
	}
	if d.Resource.Tombstone != nil && !d.InfoAt.At.After(d.ResourceAt.At) {
		return Want{}, false
	}
	w := Want{Device: d.ID, Labels: d.Info.Labels}
	w.Status = fleet.DeviceStatus{Inventory: d.Info.Inventory, AgentVersion: d.Info.AgentVersion}
	w.Status.State, w.Status.LastSeen = state(d, false)
	return w, true
}

// state returns what the resource should show; LastSeen is set for stale devices only.
func state(d projection.Device, incident bool) (fleet.DeviceState, *time.Time) {
	var was fleet.DeviceStatus
	if d.Registered {
		was = d.Resource.Status
	}
	is := d.State()
	switch {
	case is == fleet.DeviceStale && was.State == fleet.DeviceStale:
		return was.State, was.LastSeen
	case is == fleet.DeviceStale && incident:
		return was.State, was.LastSeen
	case is == fleet.DeviceStale:
		at := d.LastSeen.UTC().Truncate(time.Second)
		return is, &at
	case was.State == fleet.DeviceStale && was.LastSeen != nil && !heardSince(d, *was.LastSeen):
		return was.State, was.LastSeen
	}
	return is, nil
}

// heardSince reports whether a key of the device is newer than at, which has whole seconds.
func heardSince(d projection.Device, at time.Time) bool {
	return d.Seen.Truncate(time.Second).After(at)
}

func equal(a, b fleet.DeviceStatus) bool {
	return a.State == b.State && a.AgentVersion == b.AgentVersion &&
		(a.LastSeen == nil) == (b.LastSeen == nil) && (a.LastSeen == nil || a.LastSeen.Equal(*b.LastSeen)) &&
		maps.Equal(a.Inventory, b.Inventory)
}
