package link_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent"
	"harmony.dev/agent/agenttest"
	"harmony.dev/agent/link"
	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// ear keeps the events of a seat.
type ear struct {
	mu     sync.Mutex
	events []protocol.Event
}

func (e *ear) post(x protocol.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, x)
}

// heard waits until an event was posted and returns the first such.
func heard[E protocol.Event](t *testing.T, e *ear, like func(E) bool) E {
	t.Helper()
	var found E
	fleettest.Eventually(t, wait, fmt.Sprintf("a %T", found), func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, x := range e.events {
			if x, ok := x.(E); ok && like(x) {
				found = x
				return true
			}
		}
		return false
	})
	return found
}

func kind[E protocol.Event](E) bool { return true }

func (e *ear) count(like func(protocol.Event) bool) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.events {
		if like(x) {
			n++
		}
	}
	return n
}

func join(t *testing.T, nc *nats.Conn, o link.Options) (*ear, agent.Seat, *link.Link) {
	t.Helper()
	l := link.New(nc, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	e := &ear{}
	seat, err := l.Join("pi", e.post)
	if err != nil {
		t.Fatal(err)
	}
	return e, seat, l
}

func TestLink_Outcomes(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	e, seat, _ := join(t, nc, link.Options{Timeout: 300 * time.Millisecond})
	heard(t, e, kind[protocol.Connected])
	published := func(id uint64, want protocol.Outcome) {
		t.Helper()
		seat.Publish(protocol.Publish{ID: id, Bucket: fleet.BucketDeviceState, Key: "state.pi.web", Value: []byte("{}")})
		got := heard(t, e, func(p protocol.Published) bool { return p.ID == id })
		if got.Outcome != want {
			t.Errorf("publish %d: outcome %d, want %d", id, got.Outcome, want)
		}
	}
	published(1, protocol.Refused) // there is no such bucket
	mute, err := nc.SubscribeSync("$KV.device-state.>")
	if err != nil {
		t.Fatal(err)
	}
	published(2, protocol.Unknown) // somebody has it, but does not answer
	if err := mute.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	agenttest.NewBuckets(t, nc)
	published(3, protocol.Acknowledged)
	seat.Publish(protocol.Publish{ID: 4, Bucket: fleet.BucketDeviceHeartbeat, Key: "heartbeat.pi", Value: make([]byte, 64<<10)})
	if got := heard(t, e, func(p protocol.Published) bool { return p.ID == 4 }); got.Outcome != protocol.Refused {
		t.Errorf("a value over the limit: outcome %d", got.Outcome)
	}
}

func TestLink_Snapshots(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	e, seat, _ := join(t, nc, link.Options{Timeout: 300 * time.Millisecond})
	heard(t, e, kind[protocol.Connected])
	failed := func(id uint64, want fleet.Code) {
		t.Helper()
		seat.Ask(protocol.Ask{ID: id})
		if got := heard(t, e, func(f protocol.AskFailed) bool { return f.ID == id }); got.Code != want || got.Err == "" {
			t.Errorf("request %d: %+v", id, got)
		}
	}
	failed(1, fleet.CodeUnavailable) // nobody is there
	mute, err := nc.SubscribeSync(fleet.DesiredSubjects)
	if err != nil {
		t.Fatal(err)
	}
	failed(2, 0) // nobody answers
	if err := mute.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	r := agenttest.NewReconciler(t, nc)
	r.Answer(agenttest.Answers{Code: fleet.CodeNotFound})
	failed(3, fleet.CodeNotFound)
	r.Answer(agenttest.Answers{})
	r.Put(fleet.Pair{Device: "pi", Deployment: "web"}, "one")
	seat.Ask(protocol.Ask{ID: 4})
	if got := heard(t, e, kind[protocol.PageGot]); got.ID != 4 || len(got.Page.Entries) != 1 || !got.Page.Complete {
		t.Errorf("got %+v", got)
	}
}

// TestLink_Window: with one publish under way at a time all are acknowledged in the end.
func TestLink_Window(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	agenttest.NewBuckets(t, nc)
	e, seat, _ := join(t, nc, link.Options{Window: 1})
	heard(t, e, kind[protocol.Connected])
	const n = 200
	for id := range uint64(n) {
		seat.Publish(protocol.Publish{ID: id + 1, Bucket: fleet.BucketDeviceState, Key: fmt.Sprintf("state.pi.d%d", id), Value: []byte("{}")})
	}
	fleettest.Eventually(t, wait, "all are acknowledged", func() bool {
		return e.count(func(x protocol.Event) bool {
			p, ok := x.(protocol.Published)
			return ok && p.Outcome == protocol.Acknowledged
		}) == n
	})
}

func TestLink_ConnectionsAndMessages(t *testing.T) {
	server := fleettest.NATS(t)
	nc, operator := server.Conn(t), server.Conn(t)
	e, seat, l := join(t, nc, link.Options{})
	if _, err := l.Join("pi", e.post); err == nil {
		t.Error("a device may join twice")
	}
	heard(t, e, kind[protocol.Connected])
	server.Restart()
	heard(t, e, kind[protocol.Disconnected])
	fleettest.Eventually(t, wait, "a new connection is told", func() bool {
		return e.count(func(x protocol.Event) bool { _, ok := x.(protocol.Connected); return ok }) == 2
	})
	fleettest.Eventually(t, wait, "the operator is back", operator.IsConnected)
	resyncs := func() int {
		return e.count(func(x protocol.Event) bool { _, ok := x.(protocol.ResyncAsked); return ok })
	}
	for _, subject := range []string{fleet.SubjectResyncAll, fleet.ResyncSubject("pi"), fleet.ResyncSubject("other")} {
		if err := operator.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	r := agenttest.NewReconciler(t, operator)
	r.Put(fleet.Pair{Device: "other", Deployment: "web"}, "one")
	r.Put(fleet.Pair{Device: "pi", Deployment: "web"}, "one")
	if got := heard(t, e, kind[protocol.Live]); got.Deployment != "web" || got.Epoch != 7 {
		t.Errorf("got %+v", got)
	}
	if n := resyncs(); n != 2 {
		t.Errorf("%d resyncs, want 2", n)
	}
	seat.Leave()
	before := e.count(func(protocol.Event) bool { return true })
	r.Put(fleet.Pair{Device: "pi", Deployment: "web"}, "two")
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := e.count(func(protocol.Event) bool { return true }); n != before {
		t.Error("an event after leaving")
	}
}

// TestLink_Overflow: when messages come faster than they are taken, the agent is told to ask again.
func TestLink_Overflow(t *testing.T) {
	server := fleettest.NATS(t)
	nc, operator := server.Conn(t, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})), server.Conn(t)
	l := link.New(nc, link.Options{Buffer: 4})
	e := &ear{}
	if _, err := l.Join("pi", e.post); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 10 { // nobody takes them yet
		if err := operator.Publish(fleet.LiveSubject(fleet.Pair{Device: "pi", Deployment: "web"}), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := operator.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil { // its answer comes behind them
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	heard(t, e, kind[protocol.Lost])
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
