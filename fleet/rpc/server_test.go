package rpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
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

const within = 10 * time.Second

type echoRequest struct {
	Text  string `json:"text"`
	Count int    `json:"count,omitempty"`
}

type echoResponse struct {
	Text string `json:"text"`
}

// endpoint returns an endpoint of a service that exists in these tests only.
func endpoint(name string, role fleet.Role) fleet.Endpoint {
	return fleet.Endpoint{Service: "test", Name: name, Subject: "test.v1." + name, Role: role}
}

// buffer is a log sink that several goroutines may write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func config(t *testing.T) rpc.Config {
	t.Helper()
	return rpc.Config{Service: "test", Instance: t.Name(), Version: "devel", Log: slog.New(slog.DiscardHandler)}
}

func newServer(t *testing.T, nc *nats.Conn, cfg rpc.Config) *rpc.Server {
	t.Helper()
	s, err := rpc.NewServer(nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve adds a replica with a connection of its own, which the NATS server knows of on return.
func serve[Req, Resp any](t *testing.T, ns *fleettest.Server, ep fleet.Endpoint, h func(context.Context, Req) (Resp, error)) *rpc.Server {
	t.Helper()
	nc := ns.Conn(t)
	s := newServer(t, nc, config(t))
	handle(t, s, ep, h)
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

func handle[Req, Resp any](t *testing.T, s *rpc.Server, ep fleet.Endpoint, h func(context.Context, Req) (Resp, error)) {
	t.Helper()
	if err := rpc.Handle(s, ep, h); err != nil {
		t.Fatal(err)
	}
}

func echo(_ context.Context, r echoRequest) (echoResponse, error) {
	return echoResponse{Text: r.Text}, nil
}

func call(t *testing.T, nc *nats.Conn, ep fleet.Endpoint, req echoRequest) (echoResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return rpc.Call[echoRequest, echoResponse](ctx, nc, ep, req)
}

func TestCall_AnswersAndErrorsRoundTrip(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	s := newServer(t, nc, config(t))
	ep := endpoint("echo", fleet.RoleQuery)
	handle(t, s, ep, func(ctx context.Context, r echoRequest) (echoResponse, error) {
		switch r.Text {
		case "conflict":
			return echoResponse{}, fleet.Errorf(fleet.CodeConflict, "UIDChanged", "look\nagain")
		case "bug":
			return echoResponse{}, errors.New("secret detail")
		case "slow":
			<-ctx.Done()
			return echoResponse{}, ctx.Err()
		}
		return echo(ctx, r)
	})
	t.Run("answer", func(t *testing.T) {
		got, err := call(t, nc, ep, echoRequest{Text: "<hi>"})
		if err != nil || got.Text != "<hi>" {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
	t.Run("the handler's error", func(t *testing.T) {
		_, err := call(t, nc, ep, echoRequest{Text: "conflict"})
		e, ok := errors.AsType[*fleet.Error](err)
		if !ok || e.Code != fleet.CodeConflict || e.Reason != "UIDChanged" || e.Message != "look\nagain" || e.ErrorID == "" {
			t.Fatalf("got %#v", err)
		}
	})
	t.Run("any other error keeps its text at home", func(t *testing.T) {
		_, err := call(t, nc, ep, echoRequest{Text: "bug"})
		e, ok := errors.AsType[*fleet.Error](err)
		if !ok || e.Code != fleet.CodeInternal || strings.Contains(e.Message, "secret") || e.ErrorID == "" {
			t.Fatalf("got %#v", err)
		}
	})
	t.Run("headers as micro has them", func(t *testing.T) {
		m, err := nc.Request(ep.Subject, []byte(`{"text":"conflict"}`), within)
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Get(micro.ErrorCodeHeader) != "409" || m.Header.Get(micro.ErrorHeader) != "look again" {
			t.Fatalf("headers %v", m.Header)
		}
	})
}

func TestHandle_InternalErrorIsLoggedUnderItsID(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	var log buffer
	cfg := config(t)
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := newServer(t, nc, cfg)
	ep := endpoint("bug", fleet.RoleQuery)
	handle(t, s, ep, func(context.Context, echoRequest) (echoResponse, error) {
		return echoResponse{}, errors.New("disk on fire")
	})
	_, err := call(t, nc, ep, echoRequest{Text: "payload"})
	e, ok := errors.AsType[*fleet.Error](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	fleettest.Eventually(t, within, "the log has the error under its id", func() bool {
		return strings.Contains(log.String(), "disk on fire") && strings.Contains(log.String(), e.ErrorID)
	})
	if strings.Contains(log.String(), "payload") {
		t.Error("the log has the payload")
	}
}

func TestHandle_RefusesWhatIsNoRequest(t *testing.T) {
	nc := fleettest.NATS(t, fleettest.WithOptions(bigPayload)).Conn(t)
	s := newServer(t, nc, config(t))
	ep := endpoint("echo", fleet.RoleQuery)
	handle(t, s, ep, echo)
	for name, tc := range map[string]struct{ data, code, text string }{
		"unknown field":   {`{"txt":"x"}`, "400", `unknown field "txt"`},
		"wrong type":      {`{"count":"x"}`, "400", `field "count" is a JSON string, not a int`},
		"cut off":         {`{"text":`, "400", "ends too soon"},
		"two documents":   {`{} {}`, "400", "after its JSON document"},
		"not JSON":        {`hello`, "400", "no JSON document"},
		"too large":       {`{"text":"` + strings.Repeat("x", rpc.MaxRequestSize) + `"}`, "400", "at most 1048576"},
		"empty is zero":   {``, "", ""},
		"blank is zero":   {" \n", "", ""},
		"a good document": {`{"text":"x"}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := nc.Request(ep.Subject, []byte(tc.data), within)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Header.Get(micro.ErrorCodeHeader); got != tc.code {
				t.Errorf("code %q, want %q", got, tc.code)
			}
			if got := m.Header.Get(micro.ErrorHeader); !strings.Contains(got, tc.text) {
				t.Errorf("text %q, want one with %q", got, tc.text)
			}
		})
	}
}

func TestHandle_RepliesOnlyToInboxes(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	s := newServer(t, nc, config(t))
	var handled atomic.Int64
	ep := endpoint("echo", fleet.RoleQuery)
	handle(t, s, ep, func(ctx context.Context, r echoRequest) (echoResponse, error) {
		handled.Add(1)
		return echo(ctx, r)
	})
	stolen, err := nc.SubscribeSync("$KV.>")
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{`{"text":"x"}`, `{"unknown":1}`} {
		if err := nc.PublishRequest(ep.Subject, "$KV.desired-state.pi-07.web", []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	// A later request of the same connection is answered after the earlier ones were taken.
	if _, err := call(t, nc, ep, echoRequest{Text: "x"}); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, within, "both good requests are handled", func() bool { return handled.Load() == 2 })
	if err := s.Run(canceled(t)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := stolen.Pending(); n != 0 {
		t.Fatalf("%d replies went to a bucket", n)
	}
}

func TestHandle_SchemasAreInInfo(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	s := newServer(t, nc, config(t))
	handle(t, s, fleet.StatusApply, func(context.Context, fleet.StatusApplyRequest) (fleet.ApplyResponse, error) {
		return fleet.ApplyResponse{}, nil
	})
	handle(t, s, fleet.PlanShow, func(context.Context, fleet.PlanShowRequest) (fleet.PlanShowResponse, error) {
		return fleet.PlanShowResponse{}, nil
	})
	m, err := nc.Request("$SRV.INFO.test", nil, within)
	if err != nil {
		t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(m.Data, &info); err != nil {
		t.Fatal(err)
	}
	if info.Version != "0.0.0-devel" || info.Metadata["instance"] != t.Name() || len(info.Endpoints) != 2 {
		t.Fatalf("info %+v", info)
	}
	apply, plan := info.Endpoints[0], info.Endpoints[1]
	if apply.Subject != "fleet.v1.patcher.status.apply" || apply.QueueGroup != "" || apply.Metadata[rpc.MetadataRole] != "acting" {
		t.Errorf("acting endpoint %+v", apply)
	}
	if plan.QueueGroup != micro.DefaultQueueGroup {
		t.Errorf("query endpoint %+v", plan)
	}
	for _, ep := range info.Endpoints {
		if ep.Metadata[rpc.MetadataDescription] == "" {
			t.Errorf("%s is not described", ep.Name)
		}
		for _, key := range []string{rpc.MetadataRequest, rpc.MetadataResponse} {
			var doc struct {
				Type       string                     `json:"type"`
				Properties map[string]json.RawMessage `json:"properties"`
			}
			if err := json.Unmarshal([]byte(ep.Metadata[key]), &doc); err != nil || doc.Type != "object" || len(doc.Properties) == 0 {
				t.Errorf("%s of %s: %s", key, ep.Name, ep.Metadata[key])
			}
		}
	}
}

func TestHandle_StandbyIsSilent(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	ep := endpoint("act", fleet.RoleActing)
	var asked atomic.Int64
	standby := func(context.Context, echoRequest) (echoResponse, error) {
		asked.Add(1)
		return echoResponse{}, rpc.ErrSilent
	}
	for range 2 {
		serve(t, ns, ep, standby)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := rpc.Call[echoRequest, echoResponse](ctx, nc, ep, echoRequest{})
	e, ok := errors.AsType[*fleet.Error](err)
	if !ok || e.Code != fleet.CodeUnavailable || e.Reason != rpc.ReasonTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("without a holder: %#v", err)
	}
	serve(t, ns, ep, echo)
	if got, err := call(t, nc, ep, echoRequest{Text: "x"}); err != nil || got.Text != "x" {
		t.Fatalf("with a holder: %+v, %v", got, err)
	}
	fleettest.Eventually(t, within, "each standby heard both calls", func() bool { return asked.Load() == 4 })
}

func TestActWhile_StandbyDoesNotEvenRefuse(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	s := newServer(t, nc, config(t))
	var holds atomic.Bool
	s.ActWhile(holds.Load)
	ep := endpoint("act", fleet.RoleActing)
	handle(t, s, ep, echo)
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := rpc.Call[map[string]int, echoResponse](ctx, nc, ep, map[string]int{"unknown": 1})
		return err
	}
	if err := ask(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a standby answered a malformed request: %v", err)
	}
	holds.Store(true)
	if err := ask(); fleet.CodeOf(err) != fleet.CodeInvalid {
		t.Errorf("the holder answered a malformed request with %v", err)
	}
}

func TestHandle_FullPoolRefuses(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	cfg := config(t)
	cfg.Workers, cfg.Queue = 1, 1
	s := newServer(t, nc, cfg)
	ep, health := endpoint("slow", fleet.RoleQuery), endpoint("health", fleet.RoleEvery)
	release, started := make(chan struct{}), make(chan struct{}, 2)
	handle(t, s, ep, func(context.Context, echoRequest) (echoResponse, error) {
		started <- struct{}{}
		<-release
		return echoResponse{Text: "done"}, nil
	})
	handle(t, s, health, echo)
	answers := make(chan error, 6)
	ask := func() {
		_, err := rpc.Call[echoRequest, echoResponse](t.Context(), nc, ep, echoRequest{})
		answers <- err
	}
	go ask()
	<-started
	for range 5 {
		go ask()
	}
	for range 4 {
		if err := <-answers; fleet.CodeOf(err) != fleet.CodeBusy {
			t.Errorf("a call without a place: %v", err)
		}
	}
	if _, err := call(t, nc, health, echoRequest{}); err != nil {
		t.Errorf("health of a busy service: %v", err)
	}
	close(release)
	for range 2 {
		if err := <-answers; err != nil {
			t.Errorf("a call that had a place: %v", err)
		}
	}
	if err := s.Run(canceled(t)); err != nil {
		t.Fatal(err)
	}
}

func TestHandle_DeadlineCountsFromArrival(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	cfg := config(t)
	cfg.Workers, cfg.Timeout = 1, 200*time.Millisecond
	s := newServer(t, nc, cfg)
	ep := endpoint("slow", fleet.RoleQuery)
	var runs atomic.Int64
	release := make(chan struct{})
	handle(t, s, ep, func(ctx context.Context, _ echoRequest) (echoResponse, error) {
		runs.Add(1)
		<-ctx.Done()
		<-release
		return echoResponse{}, ctx.Err()
	})
	answers := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := rpc.Call[echoRequest, echoResponse](t.Context(), nc, ep, echoRequest{})
			answers <- err
		}()
	}
	fleettest.Eventually(t, within, "the first call runs", func() bool { return runs.Load() == 1 })
	time.AfterFunc(3*cfg.Timeout, func() { close(release) })
	for range 2 {
		e, ok := errors.AsType[*fleet.Error](<-answers)
		if !ok || e.Code != fleet.CodeUnavailable || e.Reason != "Timeout" || e.ErrorID == "" {
			t.Errorf("got %#v", e)
		}
	}
	if runs.Load() != 1 {
		t.Errorf("the handler ran %d times: the second call had waited its deadline out", runs.Load())
	}
}

func TestRun_DrainWaitsForInFlight(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	ep := endpoint("slow", fleet.RoleQuery)
	release, started := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s := serve(t, ns, ep, func(context.Context, echoRequest) (echoResponse, error) {
		first.Do(func() { close(started) })
		<-release
		return echoResponse{Text: "done"}, nil
	})
	answer := make(chan error, 1)
	go func() {
		_, err := rpc.Call[echoRequest, echoResponse](t.Context(), nc, ep, echoRequest{})
		answer <- err
	}()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	cancel()
	fleettest.Eventually(t, within, "new calls find nobody", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := rpc.Call[echoRequest, echoResponse](ctx, nc, ep, echoRequest{})
		return errors.Is(err, nats.ErrNoResponders)
	})
	select {
	case err := <-ran:
		t.Fatalf("Run returned before the call in flight was answered: %v", err)
	default:
	}
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	if err := <-ran; err != nil || !s.Stopped() {
		t.Errorf("Run returned %v, stopped %t", err, s.Stopped())
	}
}

func TestRun_ReturnsThePanicOfAHandler(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	s := newServer(t, nc, config(t))
	ep := endpoint("panic", fleet.RoleQuery)
	handle(t, s, ep, func(context.Context, echoRequest) (echoResponse, error) { panic("boom") })
	if _, err := call(t, nc, ep, echoRequest{}); fleet.CodeOf(err) != fleet.CodeInternal {
		t.Errorf("the caller got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	p, ok := errors.AsType[*rpc.PanicError](s.Run(ctx))
	if !ok || p.Value != "boom" || !strings.Contains(string(p.Stack), "TestRun_ReturnsThePanicOfAHandler") {
		t.Fatalf("got %+v", p)
	}
}

func TestRun_ReturnsWhenMicroStops(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	s := newServer(t, nc, config(t))
	handle(t, s, endpoint("echo", fleet.RoleQuery), echo)
	ran := make(chan error, 1)
	go func() { ran <- s.Run(t.Context()) }()
	nc.Close()
	if err := <-ran; !errors.Is(err, rpc.ErrStopped) || !s.Stopped() {
		t.Fatalf("Run returned %v, stopped %t", err, s.Stopped())
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
