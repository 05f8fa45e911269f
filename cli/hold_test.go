package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// brake answers as the reconciler does about one hold.
type brake struct {
	mu      sync.Mutex
	plan    fleet.PlanShowResponse
	refuse  error
	lose    []error // the answers to the first approvals, whatever was done
	allowed []string
}

// serveShow answers what is held, and approves nothing.
func (b *brake) serveShow(t *testing.T, s *rpc.Server) {
	t.Helper()
	err := rpc.Handle(s, fleet.PlanShow, func(context.Context, fleet.PlanShowRequest) (fleet.PlanShowResponse, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.plan, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *brake) serve(t *testing.T, s *rpc.Server) {
	t.Helper()
	b.serveShow(t, s)
	err := rpc.Handle(s, fleet.HoldApprove, func(_ context.Context, req fleet.HoldApproveRequest) (fleet.HoldApproveResponse, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.lose) > 0 {
			err := b.lose[0]
			b.lose = b.lose[1:]
			return fleet.HoldApproveResponse{}, err
		}
		if b.refuse != nil {
			return fleet.HoldApproveResponse{}, b.refuse
		}
		b.allowed = append(b.allowed, req.ID)
		h := *b.plan.Hold
		h.Approved = true
		return fleet.HoldApproveResponse{Hold: h}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func startBrake(t *testing.T) (*brake, string) {
	t.Helper()
	o, url := startOperator(t)
	b := &brake{plan: fleet.PlanShowResponse{
		Hold: &fleet.Hold{ID: "h1", UpTo: 9, Deletes: 3, Keys: 8}, HeldCount: 3, Deletes: []fleet.PlanDelete{
			{Key: "pi-1.web", Cause: fleet.CauseVanished, Held: true},
			{Key: "pi-2.web", Cause: fleet.CauseVanished, Held: true},
			{Key: "pi-2.db", Cause: fleet.CauseRelabelled, Held: true},
			{Key: "pi-3.db", Cause: fleet.CauseEdited},
		},
	}}
	o.serve(fleet.ServiceReconciler, true, func(s *rpc.Server) { b.serve(t, s) })
	return b, url
}

func TestHold_ShowListsWhatIsHeldAndNothingElse(t *testing.T) {
	_, url := startBrake(t)
	code, stdout, stderr := invoke(t.Context(), "hold", "show", "--nats-url", url)
	if code != 0 || !strings.Contains(stdout, "pi-2     db           relabelled") || strings.Contains(stdout, "pi-3") {
		t.Errorf("exit %d, stdout\n%s", code, stdout)
	}
	if want := "hold h1: 3 deletes of 8 keys: web (2 vanished), db (1 relabelled)"; !strings.Contains(stderr, want) || !strings.Contains(stderr, "fleet hold approve h1") {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
}

func TestHold_ApproveAsksAPersonWhoMayDecline(t *testing.T) {
	b, url := startBrake(t)
	for answer, want := range map[string]int{"n\n": 1, "\n": 1, "y\n": 0} {
		var out, err bytes.Buffer
		p := &program{getenv: func(string) string { return "" }, out: &out, err: &err, person: person{in: strings.NewReader(answer), terminal: true}}
		if code := p.run(t.Context(), []string{"fleet", "hold", "approve", "h1", "--nats-url", url}); code != want || !strings.Contains(err.String(), "3 deletes of 8 keys") {
			t.Errorf("%q: exit %d, stderr %q", answer, code, err.String())
		}
	}
	if len(b.allowed) != 1 || b.allowed[0] != "h1" {
		t.Errorf("approved %q", b.allowed)
	}
}

func TestHold_ApproveSaysWhatToDoWhenItIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*brake)
		args   string
		want   string
	}{
		"another hold":      {func(*brake) {}, "h0 --yes", `"h0" is not the present hold, h1 is`},
		"nothing is held":   {func(b *brake) { b.plan.Hold = nil }, "h1 --yes", "nothing is held"},
		"it changed since":  {func(b *brake) { b.refuse = fleet.Errorf(fleet.CodeConflict, "HoldChanged", "it is h2 now") }, "h1 --yes", "look again with 'fleet hold show'"},
		"it is not written": {func(b *brake) { b.refuse = fleet.Errorf(fleet.CodeUnavailable, "NotWritten", "no") }, "h1 --yes --timeout 1s", "approving it again is safe"},
		"it is a bug":       {func(b *brake) { b.refuse = fleet.Errorf(fleet.CodeInternal, "Bug", "no") }, "h1 --yes", "approve hold h1"},
	} {
		b, url := startBrake(t)
		c.change(b)
		code, stdout, stderr := invoke(t.Context(), append([]string{"hold", "approve", "--nats-url", url}, strings.Fields(c.args)...)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) || len(b.allowed) > 0 {
			t.Errorf("%s: exit %d, stdout %q, stderr %q, approved %q", name, code, stdout, stderr, b.allowed)
		}
	}
}

// After a lost answer a refusal may come from what was done meanwhile: nobody may be told that nothing was approved.
func TestHold_ApproveSaysWhatIsKnown(t *testing.T) {
	changed, gone := fleet.Errorf(fleet.CodeConflict, "HoldChanged", "it is h2 now"), fleet.Errorf(fleet.CodeConflict, "NotHeld", "nothing is held")
	lost := fleet.Errorf(fleet.CodeUnavailable, "Unknown", "look again")
	for name, c := range map[string]struct {
		lose   []error
		refuse error
		want   string
	}{
		"another one":                {nil, changed, "hold h1 was not approved"},
		"none any more":              {nil, gone, "nothing is held any more: hold h1 was approved and carried out, or the resources have returned"},
		"none, after a lost answer":  {[]error{lost}, gone, "nothing is held any more"},
		"another, after a lost one":  {[]error{lost}, changed, "hold h1 is there no more: it was approved and carried out, or"},
		"a bug, after a lost answer": {[]error{lost}, fleet.Errorf(fleet.CodeInternal, "Bug", "no"), "not known whether hold h1 was approved"},
		"too many ask":               {nil, fleet.Errorf(fleet.CodeBusy, "Busy", "later"), "hold h1 was not approved"},
	} {
		b, url := startBrake(t)
		b.lose, b.refuse = c.lose, c.refuse
		code, stdout, stderr := invoke(t.Context(), "hold", "approve", "h1", "--yes", "--timeout", "1s", "--nats-url", url)
		if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", name, code, stdout, stderr)
		}
	}
}

func TestHold_NobodyToApprove(t *testing.T) {
	o, url := startOperator(t)
	b := &brake{plan: fleet.PlanShowResponse{Hold: &fleet.Hold{ID: "h1"}}}
	o.serve(fleet.ServiceReconciler, true, func(s *rpc.Server) { b.serveShow(t, s) })
	code, _, stderr := invoke(t.Context(), "hold", "approve", "h1", "--yes", "--timeout", "1s", "--nats-url", url)
	if code != 1 || !strings.Contains(stderr, "hold h1 was not approved: no fleet-reconciler answers") || !strings.Contains(stderr, "try again") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestHold_StoppedWhileItIsApproved(t *testing.T) {
	o, url := startOperator(t)
	b := &brake{plan: fleet.PlanShowResponse{Hold: &fleet.Hold{ID: "h1"}}}
	ctx, stop := context.WithCancel(t.Context())
	o.serve(fleet.ServiceReconciler, true, func(s *rpc.Server) {
		b.serveShow(t, s)
		err := rpc.Handle(s, fleet.HoldApprove, func(context.Context, fleet.HoldApproveRequest) (fleet.HoldApproveResponse, error) {
			stop()
			return fleet.HoldApproveResponse{}, rpc.ErrSilent
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	code, _, stderr := invoke(ctx, "hold", "approve", "h1", "--yes", "--nats-url", url)
	if code != 1 || !strings.Contains(stderr, "not known whether hold h1 was approved") || !strings.Contains(stderr, "'fleet hold list'") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestHold_ApprovedBeforeIsNoError(t *testing.T) {
	b, url := startBrake(t)
	b.plan.Hold.Approved = true
	code, stdout, stderr := invoke(t.Context(), "hold", "approve", "h1", "-o", "name", "--nats-url", url)
	if code != 0 || stdout != "hold/h1\n" || !strings.Contains(stderr, "approved before") || len(b.allowed) > 0 {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}
