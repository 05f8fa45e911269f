package link

import (
	"maps"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// TestLink_MakesUpForDrops: a message that was dropped counts also when there is room again by the time the
// link looks. Those that it was for are told once what they missed, the others nothing.
func TestLink_MakesUpForDrops(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	l := New(nc, Options{Buffer: 1})
	told := map[fleet.DeviceID]protocol.Event{}
	for _, device := range []fleet.DeviceID{"pi", "other"} {
		if _, err := l.Join(device, func(e protocol.Event) { told[device] = e }); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if l.resyncs, err = l.subscribe(fleet.SubjectResyncAll, protocol.ResyncAsked{}); err != nil {
		t.Fatal(err)
	}
	live := func(device fleet.DeviceID) string {
		return fleet.LiveSubject(fleet.Pair{Device: device, Deployment: "web"})
	}
	// published publishes and makes room: there is a place for the first message only.
	published := func(subjects ...string) {
		t.Helper()
		for _, subject := range subjects {
			if err := nc.Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil { // its answer comes behind them
			t.Fatal(err)
		}
		<-l.msgs
	}
	want := func(want map[fleet.DeviceID]protocol.Event) {
		t.Helper()
		l.tick(time.Now())
		if !maps.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		clear(told)
	}
	type events = map[fleet.DeviceID]protocol.Event

	published(live("pi"))
	want(events{})
	published(live("other"), live("pi"), live("pi"))
	want(events{"pi": protocol.Lost{}})
	want(events{})
	published(live("pi"), fleet.ResyncSubject("pi"), live("other"))
	want(events{"pi": protocol.ResyncAsked{}, "other": protocol.Lost{}})
	published(live("pi"), fleet.SubjectResyncAll)
	want(events{"pi": protocol.ResyncAsked{}, "other": protocol.ResyncAsked{}})
}
