package link

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet/fleettest"
)

// TestCalls_TimeOut: what left has an unknown outcome, what never left a known one.
func TestCalls_TimeOut(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	if _, err := nc.SubscribeSync("mute"); err != nil {
		t.Fatal(err)
	}
	c := newCalls(nc, 1, time.Second)
	var ended []error
	for range 2 {
		c.begin(&call{subject: "mute", done: func(m *nats.Msg, err error) {
			if m != nil {
				t.Errorf("an answer: %v", m)
			}
			ended = append(ended, err)
		}})
	}
	c.expire(time.Now())
	if len(ended) != 0 {
		t.Fatalf("ended early: %v", ended)
	}
	c.expire(time.Now().Add(2 * time.Second))
	if len(ended) != 2 || ended[0] != nil || !errors.Is(ended[1], errNotSent) {
		t.Errorf("ended: %v", ended)
	}
	if len(c.flying)+len(c.waiting)+len(c.deadline) > 0 {
		t.Errorf("left over: %+v", c)
	}
}
