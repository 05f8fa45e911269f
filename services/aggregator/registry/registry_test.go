package registry_test

import (
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/registry"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// settled is a registered fresh device whose resource says what its info says.
func settled() projection.Device {
	return projection.Device{
		ID: "d1", Registered: true, Known: true, Seen: noon, LastSeen: noon,
		Resource: fleet.MirrorDevice{
			UID: "u1", Labels: map[string]string{"region": "north", "team": "a"}, Reported: map[string]string{"region": "north"},
			Status: fleet.DeviceStatus{State: fleet.DeviceFresh, Inventory: map[string]string{"model": "pi"}, AgentVersion: "1"},
		},
		ResourceAt: projection.Origin{Revision: 4, At: noon},
		Info: &fleet.DeviceInfo{
			Labels: map[string]string{"region": "north"}, Inventory: map[string]string{"model": "pi"}, AgentVersion: "1",
		},
		InfoAt: projection.Origin{Revision: 9, At: noon.Add(-time.Hour)},
	}
}

func fallenSilent(d *projection.Device) {
	at := noon.Add(-2 * time.Minute)
	d.Seen, d.LastSeen, d.Stale = at.Add(300*time.Millisecond), at.Add(300*time.Millisecond), true
}

func recordedStale(d *projection.Device) {
	at := noon.Add(-2 * time.Minute)
	d.Resource.Status.State, d.Resource.Status.LastSeen = fleet.DeviceStale, &at
}

func TestJudge(t *testing.T) {
	silence := noon.Add(-2 * time.Minute)
	for _, c := range []struct {
		name   string
		change func(*projection.Device)
		silent bool
		check  func(registry.Want) bool // nil: nothing is wanted
	}{
		{"nothing changed", func(*projection.Device) {}, false, nil},
		{"heartbeats alone change nothing", func(d *projection.Device) { d.Seen, d.LastSeen = noon.Add(time.Hour), noon.Add(time.Hour) }, false, nil},
		{"absent info changes nothing", func(d *projection.Device) { d.Info, d.InfoAt = nil, projection.Origin{} }, false, nil},
		{"labels changed", func(d *projection.Device) { d.Info.Labels = map[string]string{"region": "south"} }, false, func(w registry.Want) bool {
			return w.UID == "u1" && w.Labels["region"] == "south" && w.Status.Inventory["model"] == "pi"
		}},
		{"info of a backup changes nothing", func(d *projection.Device) { d.Info.Labels, d.Info.Inventory, d.InfoDoubted = nil, nil, true }, false, nil},
		{"info of a backup is all there is", func(d *projection.Device) {
			d.Resource.Status, d.Resource.Reported, d.InfoDoubted = fleet.DeviceStatus{State: fleet.DeviceFresh}, nil, true
		}, false, func(w registry.Want) bool { return w.Labels["region"] == "north" && w.Status.AgentVersion == "1" }},
		{"inventory changed", func(d *projection.Device) { d.Info.Inventory = nil }, false, func(w registry.Want) bool { return len(w.Status.Inventory) == 0 }},
		{"fell silent", fallenSilent, false, func(w registry.Want) bool {
			return w.Status.State == fleet.DeviceStale && w.Status.LastSeen.Equal(silence) && w.Labels["region"] == "north"
		}},
		{"fell silent without info", func(d *projection.Device) { fallenSilent(d); d.Info = nil }, false, func(w registry.Want) bool {
			return w.Status.State == fleet.DeviceStale && w.Labels["region"] == "north" && w.Status.AgentVersion == "1"
		}},
		{"fell silent with everybody", fallenSilent, true, nil},
		{"still silent", func(d *projection.Device) { fallenSilent(d); recordedStale(d) }, false, nil},
		{"is back", recordedStale, false, func(w registry.Want) bool {
			return w.Status.State == fleet.DeviceFresh && w.Status.LastSeen == nil
		}},
		{"fresh only because the heartbeats were lost", func(d *projection.Device) {
			recordedStale(d)
			d.Seen = silence.Add(700 * time.Millisecond)
		}, false, nil},
		{"never seen", func(d *projection.Device) {
			*d = projection.Device{ID: "d1", Registered: true, Resource: fleet.MirrorDevice{UID: "u1"}}
		}, false, func(w registry.Want) bool { return w.Status.State == fleet.DeviceNeverSeen }},
		{"never seen, and its resource says so", func(d *projection.Device) {
			*d = projection.Device{ID: "d1", Registered: true}
			d.Resource.Status.State = fleet.DeviceNeverSeen
		}, false, nil},
		{"deleting", func(d *projection.Device) { d.Resource.Deleting = true; d.Info.Labels = nil }, false, nil},
		{"invalid", func(d *projection.Device) {
			d.Resource = fleet.MirrorDevice{UID: "u1", Invalid: "it has no finalizer yet"}
		}, false, nil},
		{"invalid, never seen, no info", func(d *projection.Device) {
			*d = projection.Device{ID: "d1", Registered: true, Resource: fleet.MirrorDevice{UID: "u1", Invalid: "it has no finalizer yet"}}
		}, false, nil},
		{"not registered", func(d *projection.Device) { d.Registered, d.Resource = false, fleet.MirrorDevice{} }, false, func(w registry.Want) bool {
			return w.UID == "" && w.Labels["region"] == "north" && w.Status.State == fleet.DeviceFresh && w.Status.AgentVersion == "1"
		}},
		{"not registered, no info", func(d *projection.Device) { d.Registered, d.Info = false, nil }, false, nil},
		{"not registered, malformed info after a good one", func(d *projection.Device) { d.Registered, d.InfoSpoiled = false, true }, false, nil},
		{"old info after the tombstone", func(d *projection.Device) {
			d.Registered, d.Resource = false, fleet.MirrorDevice{Tombstone: &fleet.Tombstone{}}
		}, false, nil},
		{"new info after the tombstone", func(d *projection.Device) {
			d.Registered, d.Resource = false, fleet.MirrorDevice{Tombstone: &fleet.Tombstone{}}
			d.InfoAt.At = noon.Add(time.Second)
		}, false, func(w registry.Want) bool { return w.UID == "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := settled()
			c.change(&d)
			w, ok := registry.Judge(d, c.silent)
			switch {
			case ok != (c.check != nil):
				t.Errorf("wanted %t: %+v", ok, w)
			case ok && (w.Device != "d1" || !c.check(w)):
				t.Errorf("%+v", w)
			}
		})
	}
}

// What was written is what is wanted: no device is written twice for one transition.
func TestJudge_WrittenIsSettled(t *testing.T) {
	for _, change := range []func(*projection.Device){
		fallenSilent, recordedStale,
		func(d *projection.Device) { d.Info.Labels = nil },
		func(d *projection.Device) { d.Resource.Status = fleet.DeviceStatus{} },
	} {
		d := settled()
		change(&d)
		w, ok := registry.Judge(d, false)
		if !ok {
			t.Fatalf("nothing wanted: %+v", d)
		}
		d.Resource.Reported, d.Resource.Status = w.Labels, w.Status
		if w, ok := registry.Judge(d, false); ok {
			t.Errorf("wanted again: %+v", w)
		}
	}
}
