package rpc_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/child"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/rpc"
)

func bigPayload(o *server.Options) { o.MaxPayload = 4 << 20 }

func TestCall_NobodyThere(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	_, err := call(t, nc, fleet.StatusApply, echoRequest{})
	e, ok := errors.AsType[*fleet.Error](err)
	if !ok || e.Code != fleet.CodeUnavailable || e.Reason != rpc.ReasonNoResponders || !errors.Is(err, nats.ErrNoResponders) {
		t.Fatalf("no service: %#v", err)
	}
	if !strings.Contains(err.Error(), "no fleet-patcher answers on fleet.v1.patcher.status.apply") {
		t.Errorf("text %q", err)
	}
	ns.Shutdown()
	fleettest.Eventually(t, within, "the connection is lost", func() bool { return !nc.IsConnected() })
	_, err = call(t, nc, fleet.StatusApply, echoRequest{})
	if e, ok = errors.AsType[*fleet.Error](err); !ok || e.Reason != rpc.ReasonDisconnected {
		t.Fatalf("no server: %#v", err)
	}
}

// A replica that starts is in the queue group before its view is in sync.
func TestCall_AQueryFindsTheReplicaThatIsSynced(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	unsynced := func(calls *atomic.Int64) func(context.Context, echoRequest) (echoResponse, error) {
		return func(context.Context, echoRequest) (echoResponse, error) {
			calls.Add(1)
			return echoResponse{}, fleet.Errorf(fleet.CodeUnavailable, "NotSynced", "not yet")
		}
	}
	var refused, acted atomic.Int64
	query, act := endpoint("echo", fleet.RoleQuery), endpoint("act", fleet.RoleActing)
	serve(t, ns, query, unsynced(&refused))
	serve(t, ns, act, unsynced(&acted))

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := rpc.Call[echoRequest, echoResponse](ctx, nc, query, echoRequest{})
	if e, ok := errors.AsType[*fleet.Error](err); !ok || e.Reason != "NotSynced" || refused.Load() < 2 {
		t.Errorf("no replica is synced: %v after %d calls", err, refused.Load())
	}
	if _, err := call(t, nc, act, echoRequest{}); fleet.CodeOf(err) != fleet.CodeUnavailable || acted.Load() != 1 {
		t.Errorf("an acting request was made %d times: %v", acted.Load(), err)
	}
	serve(t, ns, query, echo)
	for range 50 {
		if _, err := call(t, nc, query, echoRequest{}); err != nil {
			t.Fatalf("one of two is synced: %v", err)
		}
	}
}

func TestCallRetry_GoesOnUntilAnswered(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	ep := endpoint("late", fleet.RoleQuery)
	got := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := rpc.CallRetry[echoRequest, echoResponse](ctx, nc, ep, echoRequest{})
		got <- err
	}()
	var calls atomic.Int64
	s := newServer(t, ns.Conn(t), config(t))
	handle(t, s, ep, func(ctx context.Context, r echoRequest) (echoResponse, error) {
		if calls.Add(1) < 3 {
			return echoResponse{}, fleet.Errorf(fleet.CodeUnavailable, "NotSynced", "not yet")
		}
		return echo(ctx, r)
	})
	if err := <-got; err != nil || calls.Load() != 3 {
		t.Fatalf("after %d calls: %v", calls.Load(), err)
	}
}

func TestCallRetry_StopsAtARefusal(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	s := newServer(t, nc, config(t))
	ep := endpoint("no", fleet.RoleQuery)
	var calls atomic.Int64
	handle(t, s, ep, func(context.Context, echoRequest) (echoResponse, error) {
		calls.Add(1)
		return echoResponse{}, fleet.Errorf(fleet.CodeGone, "EpochStale", "stand down")
	})
	_, err := rpc.CallRetry[echoRequest, echoResponse](t.Context(), nc, ep, echoRequest{})
	if fleet.CodeOf(err) != fleet.CodeGone || calls.Load() != 1 {
		t.Fatalf("after %d calls: %v", calls.Load(), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = rpc.CallRetry[echoRequest, echoResponse](ctx, nc, endpoint("nobody", fleet.RoleQuery), echoRequest{})
	if fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Fatalf("nobody there: %v", err)
	}
}

// Whoever asks again after a lost answer may be refused because of what the lost request did.
func TestMayBeDone_RemembersEachAttempt(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	s := newServer(t, nc, config(t))
	busy, lost := fleet.Errorf(fleet.CodeBusy, "Busy", "later"), fleet.Errorf(fleet.CodeUnavailable, "Unknown", "look again")
	refused := fleet.Errorf(fleet.CodeConflict, "NotHeld", "nothing is held")
	for name, c := range map[string]struct {
		answers []error
		want    bool
	}{
		"refused":             {[]error{refused}, false},
		"refused_when_free":   {[]error{busy, refused}, false},
		"lost_then_refused":   {[]error{lost, refused}, true},
		"lost_before_another": {[]error{lost, busy, refused}, true},
	} {
		ep := endpoint(name, fleet.RoleActing)
		var calls atomic.Int64
		handle(t, s, ep, func(context.Context, echoRequest) (echoResponse, error) {
			return echoResponse{}, c.answers[calls.Add(1)-1]
		})
		_, err := rpc.CallRetry[echoRequest, echoResponse](t.Context(), nc, ep, echoRequest{})
		if fleet.CodeOf(err) != fleet.CodeConflict || rpc.MayBeDone(err) != c.want {
			t.Errorf("%s: %t after %v", name, rpc.MayBeDone(err), err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := rpc.CallRetry[echoRequest, echoResponse](ctx, nc, endpoint("nobody", fleet.RoleActing), echoRequest{}); rpc.MayBeDone(err) {
		t.Errorf("nobody was there to do it: %v", err)
	}
	asked := make(chan struct{})
	stopped, stop := context.WithCancel(t.Context())
	silent := endpoint("silent", fleet.RoleActing)
	handle(t, s, silent, func(context.Context, echoRequest) (echoResponse, error) {
		close(asked)
		return echoResponse{}, rpc.ErrSilent
	})
	go func() { <-asked; stop() }()
	if _, err := rpc.CallRetry[echoRequest, echoResponse](stopped, nc, silent, echoRequest{}); !rpc.MayBeDone(err) {
		t.Errorf("stopped after it was asked: %v", err)
	}
}

func TestCallEvery_GathersAllReplicas(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	ep := endpoint("health", fleet.RoleEvery)
	for _, name := range []string{"a", "b", "c"} {
		serve(t, ns, ep, func(context.Context, struct{}) (echoResponse, error) {
			return echoResponse{Text: name}, nil
		})
	}
	got, err := rpc.CallEvery[struct{}, echoResponse](t.Context(), nc, ep, struct{}{}, 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range got {
		names = append(names, r.Text)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Fatalf("answers of %v", names)
	}
}

func TestCallEvery_NobodyAndErrors(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	ep := endpoint("health", fleet.RoleEvery)
	got, err := rpc.CallEvery[struct{}, echoResponse](t.Context(), nc, ep, struct{}{}, time.Second)
	if len(got) != 0 || fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Fatalf("nobody there: %v, %v", got, err)
	}
	for i := range 2 {
		serve(t, ns, ep, func(ctx context.Context, r echoRequest) (echoResponse, error) {
			if i == 0 {
				return echoResponse{}, fleet.Errorf(fleet.CodeUnavailable, "NotSynced", "not yet")
			}
			return echo(ctx, r)
		})
	}
	got, err = rpc.CallEvery[struct{}, echoResponse](t.Context(), nc, ep, struct{}{}, time.Second)
	if len(got) != 1 || fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Fatalf("one of two refuses: %v, %v", got, err)
	}
}

func TestSubscribe_AnswersByTheSubject(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	release, started := make(chan struct{}), make(chan struct{}, 1)
	sub, err := rpc.Subscribe(ns.Conn(t), fleet.DesiredSubjects, config(t),
		func(_ context.Context, subject string, _ fleet.SnapshotRequest) (echoResponse, error) {
			device, err := fleet.ParseDesiredSubject(subject)
			switch {
			case err != nil:
				return echoResponse{}, fleet.Errorf(fleet.CodeInvalid, "SubjectInvalid", "%v", err)
			case device == "standby":
				return echoResponse{}, rpc.ErrSilent
			case device == "slow":
				started <- struct{}{}
				<-release
			}
			return echoResponse{Text: string(device)}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(device string) (echoResponse, error) {
		return askSnapshot(t, nc, fleet.DesiredSubject(fleet.DeviceID(device)))
	}
	fleettest.Eventually(t, within, "the subscription answers", func() bool {
		got, err := ask("pi-07")
		return err == nil && got.Text == "pi-07"
	})
	if _, err := ask("PI"); fleet.CodeOf(err) != fleet.CodeInvalid {
		t.Errorf("an illegal device: %v", err)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := askSnapshot(t, nc, fleet.DesiredSubject("slow"))
		answer <- err
	}()
	<-started
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	if err := sub.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	if _, err := ask("pi-07"); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after the drain: %v", err)
	}
}

func TestSubscribe_APanicEndsTheProcess(t *testing.T) {
	ns := fleettest.NATS(t)
	var stderr buffer
	ready := make(chan struct{})
	var once sync.Once
	p, err := child.Start(child.Spec{
		Name: "subscriber", Path: os.Args[0], Env: append(os.Environ(), asSubscriber+"="+ns.URL()),
		Stderr: &stderr, OnStdoutLine: func(string) { once.Do(func() { close(ready) }) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	<-ready
	nc := ns.Conn(t)
	fleettest.Eventually(t, within, "the caller gets a 500", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ep := fleet.Endpoint{Service: "subscriber", Subject: "test.plain.x"}
		_, err := rpc.Call[struct{}, struct{}](ctx, nc, ep, struct{}{})
		return fleet.CodeOf(err) == fleet.CodeInternal
	})
	select {
	case <-p.Done():
	case <-time.After(within):
		t.Fatal("the process goes on after a panic")
	}
	if p.Err() == nil || !strings.Contains(stderr.String(), "panic: boom") || !strings.Contains(stderr.String(), "panickingSubscriber") {
		t.Errorf("ended with %v: %s", p.Err(), stderr.String())
	}
}

// askSnapshot asks a plain subject with an empty snapshot request.
func askSnapshot(t *testing.T, nc *nats.Conn, subject string) (echoResponse, error) {
	t.Helper()
	ep := fleet.Endpoint{Service: fleet.ServiceReconciler, Subject: subject}
	return rpc.Call[fleet.SnapshotRequest, echoResponse](t.Context(), nc, ep, fleet.SnapshotRequest{})
}
