package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/rpc"
)

// patcher answers the acting requests that the reconciler makes, and remembers them.
type patcher struct {
	mu       sync.Mutex
	releases []fleet.FinalizerReleaseRequest
	events   []fleet.EventRecordRequest
	answer   error
}

func (s *stack) patcher() *patcher {
	s.t.Helper()
	p := &patcher{}
	server, err := rpc.NewServer(s.control.Conn(s.t), rpc.Config{Service: fleet.ServicePatcher, Instance: "p", Version: "1.0.0", Log: testLog(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	err = rpc.Handle(server, fleet.FinalizerRelease, func(_ context.Context, req fleet.FinalizerReleaseRequest) (fleet.ApplyResponse, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.releases = append(p.releases, req)
		return fleet.ApplyResponse{Result: fleet.ResultPatched}, p.answer
	})
	if err != nil {
		s.t.Fatal(err)
	}
	err = rpc.Handle(server, fleet.EventRecord, func(_ context.Context, req fleet.EventRecordRequest) (fleet.EventRecordResponse, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, req)
		return fleet.EventRecordResponse{}, nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	background(s.t, func(ctx context.Context) { _ = server.Run(ctx) })
	return p
}

func (p *patcher) released(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.releases {
		if r.Name == name {
			n++
		}
	}
	return n
}

func TestHold_HeldShownApproved(t *testing.T) {
	s := newStack(t)
	for i := range 30 {
		s.device(fmt.Sprintf("d%02d", i), nil, "region", "north")
	}
	s.deployment("web", 1, "a", nil, "region", "north")
	s.whole()
	p := s.patcher()
	first := s.start(settings{instance: "one", quiet: 300 * time.Millisecond})
	fleettest.Eventually(t, soon, "all keys are there", func() bool { return len(s.tap.values()) == 30 })
	s.rest(first)

	for i := range 15 {
		s.device(fmt.Sprintf("d%02d", i), nil, "region", "lost")
	}
	fleettest.Eventually(t, soon, "it is held and shown", func() bool {
		return strings.Contains(first.health.heldMessage(), "15 deletes of 30 keys")
	})
	// Deletes that are held are part of what a device is told, and another holder goes on holding.
	if got := s.answered("d00", fleet.SnapshotRequest{}); len(got.Entries) != 1 {
		t.Errorf("a device is told %+v", got)
	}
	first.stop()
	second := s.start(settings{instance: "two", quiet: 300 * time.Millisecond})
	s.rest(second)
	hold, err := fleet.DecodeHold([]byte(s.tap.get(fleet.KeyHold).value))
	if err != nil || hold.Deletes != 15 || hold.Approved || len(s.tap.values()) != 30 {
		t.Fatalf("after failover: %+v, %v, %d keys", hold, err, len(s.tap.values()))
	}
	applied, err := fleet.DecodeApplied([]byte(s.tap.get("_applied.web").value))
	if err != nil || applied.Held != hold.ID {
		t.Errorf("applied is %+v, %v", applied, err)
	}
	// The new holder judges deletes once it has seen the patcher live.
	fleettest.Eventually(t, soon, "the plan shows what is held", func() bool {
		shown, err := rpc.CallRetry[fleet.PlanShowRequest, fleet.PlanShowResponse](t.Context(), s.ctl, fleet.PlanShow, fleet.PlanShowRequest{})
		return err == nil && shown.HeldCount == 15 && shown.Hold != nil && shown.Hold.ID == hold.ID && shown.Synced
	})
	p.mu.Lock()
	if len(p.events) == 0 || p.events[0].Name != "web" || p.events[0].Reason != fleet.ReasonHeld || p.events[0].Epoch == 0 {
		t.Errorf("events %+v", p.events)
	}
	p.mu.Unlock()

	approve := func(id string) error {
		_, err := rpc.CallRetry[fleet.HoldApproveRequest, fleet.HoldApproveResponse](t.Context(), s.ctl, fleet.HoldApprove, fleet.HoldApproveRequest{ID: id})
		return err
	}
	if err := approve("hold-other"); fleet.CodeOf(err) != fleet.CodeConflict {
		t.Errorf("another id: %v", err)
	}
	if err := approve(hold.ID); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, soon, "the deletes pass and the hold goes", func() bool {
		return len(s.tap.values()) == 15 && s.tap.get(fleet.KeyHold).deleted && second.health.heldMessage() == ""
	})
	if op := s.tap.get("d00.web"); op.cause != string(fleet.CauseRelabelled) {
		t.Errorf("deleted because %q", op.cause)
	}
}

func TestFinalizers_AskedAgainUntilThePatcherIsThere(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil)
	s.device("d2", nil)
	s.deployment("web", 1, "a", nil)
	s.deployment("log", 1, "l", nil)
	s.whole()
	r := s.start(settings{instance: "one"})
	fleettest.Eventually(t, soon, "all keys are there", func() bool { return len(s.tap.values()) == 4 })
	s.deployment("web", 2, "a", func(e *fleet.MirrorDeployment) { e.Deleting = true })
	s.device("d1", func(e *fleet.MirrorDevice) { e.Deleting = true })
	s.keys(map[string]string{"d2.log": wanted(t, "log", "l")})
	fleettest.Eventually(t, soon, "it was asked in vain", func() bool { return r.log.has("asked the patcher in vain") })

	p := s.patcher()
	p.mu.Lock()
	p.answer = fleet.Errorf(fleet.CodeConflict, "Conflict", "look again")
	p.mu.Unlock()
	fleettest.Eventually(t, soon, "both are asked for again and again", func() bool {
		return p.released("web") > 1 && p.released("d1") > 1
	})
	p.mu.Lock()
	for _, req := range p.releases {
		if req.Finalizer != fleet.FinalizerDesiredState || req.UID != "uid-"+req.Name || req.Epoch != r.elector.Health().Epoch || req.Service != fleet.ServiceReconciler {
			t.Errorf("asked %+v", req)
		}
	}
	p.mu.Unlock()
	s.say(fleet.DeploymentKey("web"), fleet.MirrorDeployment{Tombstone: &fleet.Tombstone{UID: "uid-web", Cause: fleet.TombstoneDeleted}})
	s.say(fleet.DeviceKey("d1"), fleet.MirrorDevice{Tombstone: &fleet.Tombstone{UID: "uid-d1", Cause: fleet.TombstoneDeleted}})
	s.rest(r)
	if !s.tap.get("_applied.web").deleted {
		t.Error("the applied record is still there")
	}
}

func TestEndpoints_TargetsAndCandidate(t *testing.T) {
	s := newStack(t)
	for i := range 12 {
		s.device(fmt.Sprintf("d%02d", i), nil, "region", []string{"north", "south"}[i%2])
	}
	s.deployment("web", 1, "a", nil, "region", "north")
	s.whole()
	r := s.start(settings{instance: "one"})
	s.rest(r)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	req := fleet.TargetsListRequest{Deployment: "web"}
	req.Limit = 4
	var got []fleet.DeviceID
	for {
		page, err := rpc.Call[fleet.TargetsListRequest, fleet.TargetsListResponse](ctx, s.ctl, fleet.TargetsList, req)
		if err != nil || page.Total != 6 || len(page.Devices) > 4 {
			t.Fatalf("got %+v, %v", page, err)
		}
		got = append(got, page.Devices...)
		if req.After = page.Next; req.After == "" {
			break
		}
	}
	if fmt.Sprint(got) != "[d00 d02 d04 d06 d08 d10]" {
		t.Errorf("targets %v", got)
	}
	shown, err := rpc.Call[fleet.PlanShowRequest, fleet.PlanShowResponse](ctx, s.ctl, fleet.PlanShow, fleet.PlanShowRequest{
		Deployment: "web", Candidate: &fleet.Candidate{TargetSelector: wish("", 0, "", "region", "south").TargetSelector, Score: score("a")},
	})
	if err != nil || len(shown.Gained) != 6 || len(shown.Lost) != 6 || shown.HeldCount != 0 {
		t.Errorf("a candidate shows %+v, %v", shown, err)
	}
	for name, bad := range map[string]fleet.TargetsListRequest{
		"unknown deployment": {Deployment: "nope"},
		"limit":              {Page: fleet.Page{Limit: -1}, Deployment: "web"},
	} {
		if _, err := rpc.Call[fleet.TargetsListRequest, fleet.TargetsListResponse](ctx, s.ctl, fleet.TargetsList, bad); fleet.CodeOf(err) != fleet.CodeNotFound && fleet.CodeOf(err) != fleet.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
