package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/rpc"
)

// refusals keeps the reasons for which requests were refused.
type refusals struct {
	mu  sync.Mutex
	all []string
}

func (r *refusals) add(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, reason)
}

func (r *refusals) are(want ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Equal(r.all, want)
}

// subscribe answers requests on test.plain.<who> until the test ends.
func subscribe(t *testing.T, ns *fleettest.Server, cfg rpc.Config, h func(context.Context, string) (echoResponse, error)) *rpc.Subscription {
	t.Helper()
	nc := ns.Conn(t)
	sub, err := rpc.Subscribe(nc, "test.plain.*", cfg, func(ctx context.Context, subject string, _ struct{}) (echoResponse, error) {
		return h(ctx, strings.TrimPrefix(subject, "test.plain."))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return sub
}

func askPlain(t *testing.T, nc *nats.Conn, who string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	_, err := rpc.Call[struct{}, echoResponse](ctx, nc, fleet.Endpoint{Service: "test", Subject: "test.plain." + who}, struct{}{})
	return err
}

func TestSubscribe_SharesItsPlacesAmongSubjects(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	var refused refusals
	cfg := config(t)
	cfg.Workers, cfg.Queue, cfg.PerSubject, cfg.Refused = 1, 3, 2, refused.add
	started, release := make(chan struct{}, 4), make(chan struct{})
	subscribe(t, ns, cfg, func(context.Context, string) (echoResponse, error) {
		started <- struct{}{}
		<-release
		return echoResponse{}, nil
	})
	greedy, modest := make(chan error, 5), make(chan error, 1)
	for range cap(greedy) {
		go func() { greedy <- askPlain(t, nc, "greedy") }()
	}
	<-started
	for range 3 {
		if err := <-greedy; fleet.CodeOf(err) != fleet.CodeBusy {
			t.Errorf("beyond its share: %v", err)
		}
	}
	go func() { modest <- askPlain(t, nc, "modest") }()
	close(release)
	if err := <-modest; err != nil {
		t.Errorf("another subject: %v", err)
	}
	for range 2 {
		if err := <-greedy; err != nil {
			t.Errorf("within its share: %v", err)
		}
	}
	if !refused.are(rpc.ReasonBusy, rpc.ReasonBusy, rpc.ReasonBusy) {
		t.Errorf("refused: %v", refused.all)
	}
	fleettest.Eventually(t, within, "the share is given back", func() bool { return askPlain(t, nc, "greedy") == nil })
}

func TestSubscribe_LargeRequestsDoNotWait(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	var refused refusals
	cfg := config(t)
	cfg.Workers, cfg.MaxRequest, cfg.Refused = 1, 64, refused.add
	started, release := make(chan struct{}, 2), make(chan struct{})
	subscribe(t, ns, cfg, func(context.Context, string) (echoResponse, error) {
		started <- struct{}{}
		<-release
		return echoResponse{}, nil
	})
	first := make(chan error, 1)
	go func() { first <- askPlain(t, nc, "a") }()
	<-started // no worker is free
	for what, large := range map[string]*nats.Msg{
		"payload": {Data: []byte("{" + strings.Repeat(" ", 64) + "}")},
		"header":  {Header: nats.Header{"X": {strings.Repeat("x", 64)}}, Data: []byte("{}")},
	} {
		large.Subject = "test.plain.b"
		m, err := nc.RequestMsg(large, within/4)
		if err != nil || m.Header.Get(micro.ErrorCodeHeader) != "400" || !strings.Contains(m.Header.Get(micro.ErrorHeader), "at most 64") {
			t.Errorf("a large %s: %+v, %v", what, m, err)
		}
	}
	close(release)
	if err := <-first; err != nil || !refused.are(rpc.ReasonTooLarge, rpc.ReasonTooLarge) {
		t.Errorf("the first: %v, refused %v", err, refused.all)
	}
}

func TestSubscribe_WorksForNobodyInVain(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	var refused refusals
	var log buffer
	var handled atomic.Int64
	cfg := config(t)
	cfg.Refused, cfg.Log = refused.add, slog.New(slog.NewTextHandler(&log, nil))
	subscribe(t, ns, cfg, func(context.Context, string) (echoResponse, error) {
		handled.Add(1)
		return echoResponse{}, nil
	})
	for _, reply := range []string{"", "$KV.desired-state.pi-07.web"} {
		if err := nc.PublishMsg(&nats.Msg{Subject: "test.plain.a", Reply: reply, Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	// A later request of the same connection is answered after the earlier ones were taken.
	if err := askPlain(t, nc, "a"); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, within, "both are counted", func() bool { return refused.are(rpc.ReasonNoInbox, rpc.ReasonNoInbox) })
	if n := handled.Load(); n != 1 {
		t.Errorf("%d requests were handled", n)
	}
	if log.String() != "" {
		t.Errorf("who asks has the log say\n%s", log.String())
	}
}

func TestSubscribe_DrainEndsWithItsContext(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	started, release := make(chan struct{}), make(chan struct{})
	sub := subscribe(t, ns, config(t), func(context.Context, string) (echoResponse, error) {
		close(started)
		<-release
		return echoResponse{}, nil
	})
	answer := make(chan error, 1)
	go func() { answer <- askPlain(t, nc, "slow") }()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := sub.Drain(ctx)
	if took := time.Since(began); err == nil || took > 2*time.Second {
		t.Errorf("drained after %s: %v", took, err)
	}
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
}

func TestSubscribe_HandsAPanicOver(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	panics := make(chan *rpc.PanicError, 1)
	cfg := config(t)
	cfg.Panicked = func(p *rpc.PanicError) { panics <- p }
	subscribe(t, ns, cfg, func(context.Context, string) (echoResponse, error) { panic("boom") })
	if err := askPlain(t, nc, "a"); fleet.CodeOf(err) != fleet.CodeInternal {
		t.Errorf("the caller got %v", err)
	}
	p := <-panics
	if p.Value != "boom" || p.Subject != "test.plain.a" || !strings.Contains(string(p.Stack), "TestSubscribe_HandsAPanicOver") {
		t.Errorf("got %+v", p)
	}
}

func TestSubscribe_WhoAsksDoesNotFillTheLog(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	var log buffer
	cfg := config(t)
	cfg.Timeout, cfg.Log = 10*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil))
	subscribe(t, ns, cfg, func(ctx context.Context, _ string) (echoResponse, error) {
		<-ctx.Done()
		return echoResponse{}, ctx.Err()
	})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := askPlain(t, nc, fmt.Sprint(i)); fleet.CodeOf(err) != fleet.CodeUnavailable {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%d lines in the log:\n%s", n, log.String())
	}
}
