package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// A fifth of the product's times, in the same ratios, for all of a stack.
var (
	quickBrake      = []string{"--brake-quiet", "2s", "--brake-max-wait", "12s"}
	quickAggregator = []string{"--heartbeat-interval", "6s", "--stale-after", "18s", "--silence-after", "60s"}
	quickDevices    = []string{"--heartbeat", "6s"}
)

// braked is a stack whose brake is looked at.
type braked struct {
	*lab.Stack
	t           *testing.T
	reconcilers []*lab.Instance
}

// newBraked starts one patcher, one aggregator and so many reconcilers.
func newBraked(t *testing.T, o lab.Options, reconcilers int) *braked {
	s := &braked{Stack: lab.New(t, o), t: t}
	s.Start(fleet.ServicePatcher)
	s.Start(fleet.ServiceAggregator, quickAggregator...)
	for range reconcilers {
		s.reconcilers = append(s.reconcilers, s.Start(fleet.ServiceReconciler, quickBrake...))
	}
	s.WaitReady(2 + reconcilers)
	return s
}

// keys are those of desired-state, or of a few Deployments in it.
func (s *braked) keys(deployments ...string) map[string]lab.Entry {
	s.t.Helper()
	all, err := s.NATS.Keys(s.t.Context(), fleet.BucketDesiredState)
	if err != nil {
		s.t.Fatal(err)
	}
	maps.DeleteFunc(all, func(key string, _ lab.Entry) bool {
		pair, err := fleet.ParseDesiredKey(key)
		return err != nil || len(deployments) > 0 && !slices.Contains(deployments, string(pair.Deployment))
	})
	return all
}

// untouched fails when one of these keys was written or deleted since.
func (s *braked) untouched(when string, before map[string]lab.Entry) {
	s.t.Helper()
	now := s.keys()
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if now[key] != before[key] {
			s.t.Fatalf("%s: %s is %v, it was %v", when, key, now[key], before[key])
		}
	}
}

// recordOf reads a record of the reconciler's from desired-state; there may be none.
func recordOf[T any](ctx context.Context, s *braked, key string, decode func([]byte) (T, error)) (v T, ok bool, err error) {
	all, err := s.NATS.Entries(ctx, fleet.BucketDesiredState)
	e, found := all[key]
	if err != nil || !found || e.Delete {
		return v, false, err
	}
	v, err = decode([]byte(e.Value))
	return v, true, err
}

// held waits until so many deletes are held, and seen to be in all places: those of Deployments that exist,
// and of some that are gone.
func (s *braked) held(deletes int, there, gone []string) fleet.Hold {
	s.t.Helper()
	return s.heldAnew("", deletes, there, gone)
}

// heldAnew is held once it is no longer the hold of an id.
func (s *braked) heldAnew(was string, deletes int, there, gone []string) (h fleet.Hold) {
	s.t.Helper()
	s.Eventually(30*time.Second, fmt.Sprintf("%d deletes held, and shown", deletes), func(ctx context.Context) (err error) {
		var ok bool
		h, ok, err = recordOf(ctx, s, fleet.KeyHold, fleet.DecodeHold)
		if err != nil {
			return err
		}
		if !ok || h.Approved || h.Deletes != deletes || h.ID == was {
			return fmt.Errorf("the hold is %+v (%t)", h, ok)
		}
		shown := []error{s.heldInHealth(ctx, h), s.heldInMetrics(ctx, deletes), s.heldInPlan(ctx, h), s.heldOnCommandLine(ctx, h)}
		for _, name := range slices.Concat(there, gone) {
			a, _, err := recordOf(ctx, s, fleet.AppliedKey(fleet.DeploymentName(name)), fleet.DecodeApplied)
			if err == nil && a.Held != h.ID {
				err = fmt.Errorf("_applied.%s is %+v", name, a)
			}
			shown = append(shown, err, s.heldAsEvent(ctx, name, h))
		}
		for _, name := range there {
			shown = append(shown, s.heldInStatus(ctx, name, h))
		}
		return errors.Join(shown...)
	})
	return h
}

func (s *braked) heldInHealth(ctx context.Context, h fleet.Hold) error {
	seen := 0
	for _, x := range s.Health(ctx) {
		if x.Service != fleet.ServiceReconciler {
			continue
		}
		seen++
		if x.State != fleet.StateHeld || !x.Ready || !slices.ContainsFunc(x.Reasons, func(r fleet.Reason) bool {
			return r.Reason == fleet.ReasonHeld && strings.Contains(r.Message, h.ID)
		}) {
			return fmt.Errorf("%s is %s, ready %t: %v", x.Instance, x.State, x.Ready, x.Reasons)
		}
	}
	if seen == 0 {
		return errors.New("no reconciler answers")
	}
	return nil
}

func (s *braked) heldInMetrics(ctx context.Context, deletes int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Holder(fleet.ServiceReconciler).HTTP()+"/metrics", nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("\nfleet_reconciler_deletes_pending{why=\"held\"} %d\n", deletes); !strings.Contains(string(text), want) {
		return fmt.Errorf("the metrics have no %q", want)
	}
	return nil
}

func (s *braked) heldInPlan(ctx context.Context, h fleet.Hold) error {
	p, err := rpc.CallRetry[fleet.PlanShowRequest, fleet.PlanShowResponse](ctx, s.Conn(), fleet.PlanShow, fleet.PlanShowRequest{})
	if err != nil || p.HeldCount != h.Deletes || p.Hold == nil || p.Hold.ID != h.ID {
		return errors.Join(err, fmt.Errorf("the plan holds %d by %+v", p.HeldCount, p.Hold))
	}
	return nil
}

func (s *braked) heldOnCommandLine(ctx context.Context, h fleet.Hold) error {
	out, err := s.FleetCommand(ctx, "status")
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 || !strings.Contains(out, h.ID) {
		return errors.Join(err, fmt.Errorf("fleet status prints\n%s", out))
	}
	return nil
}

func (s *braked) heldAsEvent(ctx context.Context, deployment string, h fleet.Hold) error {
	out, err := s.Kubectl(ctx, "get", "events", "--field-selector", "reason=Held,type=Warning,involvedObject.name="+deployment)
	if err != nil || !strings.Contains(out, h.ID) {
		return errors.Join(err, fmt.Errorf("events about %s:\n%s", deployment, out))
	}
	return nil
}

func (s *braked) heldInStatus(ctx context.Context, name string, h fleet.Hold) error {
	status, raw, err := s.API.Status(ctx, name)
	if err != nil {
		return err
	}
	stalled, ready := lab.Condition(status, fleet.ConditionStalled), lab.Condition(status, fleet.ConditionReady)
	if stalled.Status != fleet.ConditionTrue || stalled.Reason != fleet.ReasonHeld || !strings.Contains(stalled.Message, h.ID) || ready.Status != fleet.ConditionFalse {
		return fmt.Errorf("status of %s: %s", name, raw)
	}
	return nil
}

// approve asks for a hold to be approved, as a person does.
func (s *braked) approve(id string) error {
	_, err := rpc.CallRetry[fleet.HoldApproveRequest, fleet.HoldApproveResponse](s.t.Context(), s.Conn(), fleet.HoldApprove, fleet.HoldApproveRequest{ID: id})
	return err
}

// shownApproval is how 'fleet status' says to approve a hold.
var shownApproval = regexp.MustCompile(`approve it with: fleet (hold approve \S+)`)

// approveAsShown runs the command that 'fleet status' shows.
func (s *braked) approveAsShown(h fleet.Hold) {
	s.t.Helper()
	out, _ := s.FleetCommand(s.t.Context(), "status") // exits with 1 while something is held
	m := shownApproval.FindStringSubmatch(out)
	if m == nil {
		s.t.Fatalf("fleet status does not show how to approve %s:\n%s", h.ID, out)
	}
	out, err := s.FleetCommand(s.t.Context(), append(strings.Fields(m[1]), "--yes")...)
	if err != nil || !strings.Contains(out, h.ID) {
		s.t.Fatalf("%s: %v\n%s", m[1], err, out)
	}
}

// released waits until nothing is held, and nowhere said to be.
func (s *braked) released(instances int) {
	s.t.Helper()
	s.Eventually(30*time.Second, "the hold to go", func(ctx context.Context) error {
		h, ok, err := recordOf(ctx, s, fleet.KeyHold, fleet.DecodeHold)
		if ok {
			return errors.Join(err, fmt.Errorf("there is %+v", h))
		}
		return err
	})
	s.WaitReady(instances)
	if out, err := s.FleetCommand(s.t.Context(), "status"); err != nil {
		s.t.Errorf("fleet status after the hold: %v\n%s", err, out)
	}
}

// tornDown waits until no agent runs these Deployments any more.
func tornDown(t *testing.T, s *lab.Stack, names ...string) {
	t.Helper()
	s.Eventually(20*time.Second, fmt.Sprintf("the agents to tear down %v", names), func(ctx context.Context) error {
		for _, name := range names {
			n, err := running(ctx, s, name)
			if err != nil || n > 0 {
				return errors.Join(err, fmt.Errorf("%s runs on %d devices", name, n))
			}
		}
		return nil
	})
}

// running counts the devices whose last report of a Deployment is that it runs.
func running(ctx context.Context, s *lab.Stack, deployment string) (n int, err error) {
	states, err := s.NATS.Keys(ctx, fleet.BucketDeviceState)
	for key, e := range states {
		pair, err := fleet.ParseStateKey(key)
		if err != nil || string(pair.Deployment) != deployment {
			continue
		}
		if r, err := fleet.DecodeReport([]byte(e.Value)); err == nil && r.Phase == fleet.PhaseRunning {
			n++
		}
	}
	return n, err
}

// isOf reports whether a key of desired-state is of a Deployment.
func isOf(key, deployment string) bool {
	pair, err := fleet.ParseDesiredKey(key)
	return err == nil && string(pair.Deployment) == deployment
}
