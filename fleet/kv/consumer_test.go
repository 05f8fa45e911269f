package kv

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// brought is message number n of a consumer, as it comes on the inbox.
func brought(n int) *nats.Msg {
	return &nats.Msg{
		Subject: fleet.KeySubject(fleet.BucketDeviceState, fmt.Sprintf("state.pi-%d.web", n)),
		Reply:   fmt.Sprintf("$JS.ACK.KV_device-state.c.1.%d.%d.1795441472770472123.3", 100+n, n),
		Data:    []byte("v"),
	}
}

func TestConsumer_NoticesALostMessage(t *testing.T) {
	c := &consumer{nc: fleettest.NATS(t).Conn(t), bucket: fleet.BucketDeviceState, batch: 10, requested: 10, next: "next", inbox: "inbox"}
	for n := range 3 {
		m, ok, err := c.decode(brought(n + 1))
		if err != nil || !ok || m.Revision != uint64(101+n) || m.Op != Put || string(m.Value) != "v" || m.Key != fmt.Sprintf("state.pi-%d.web", n+1) {
			t.Fatalf("message %d: %+v, %v, %v", n+1, m, ok, err)
		}
	}
	if _, ok, err := c.decode(brought(5)); ok || err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("a gap: %v, %v", ok, err)
	}
	if _, ok, err := c.decode(brought(3)); ok || err == nil {
		t.Errorf("a repetition: %v, %v", ok, err)
	}
}

func TestConsumer_Status(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	for _, c := range []struct {
		code, description string
		ends              bool
	}{
		{"100", "Idle Heartbeat", false},
		{"408", "Request Timeout", false},
		{"409", "Consumer Deleted", true},
		{"409", "Leadership Change", true},
		{"409", "Server Shutdown", true},
		{"503", "", true},
	} {
		m := &nats.Msg{Subject: "inbox", Header: nats.Header{"Status": {c.code}, "Description": {c.description}, "Nats-Pending-Messages": {"7"}}}
		x := &consumer{nc: nc, bucket: fleet.BucketDeviceState, batch: 10, requested: 10, next: "next", inbox: "inbox"}
		if _, ok, err := x.decode(m); ok || (err != nil) != c.ends {
			t.Errorf("%s %s: %v, %v", c.code, c.description, ok, err)
		}
		if c.code == "408" && x.requested != 8 { // 7 are not coming, 5 more were asked for
			t.Errorf("%d messages asked for", x.requested)
		}
	}
}

func TestConsumer_Silence(t *testing.T) {
	c := &consumer{}
	for i := range heartbeatsMissed {
		if err := c.alive(); (err != nil) != (i == heartbeatsMissed-1) {
			t.Errorf("after %d missed: %v", i+1, err)
		}
	}
	c.beats = 1
	if err := c.alive(); err != nil || c.missed != 0 {
		t.Errorf("after a sign of life: %v", err)
	}
}
