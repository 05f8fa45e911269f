package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/rpc"
)

// metrics returns the values of the gauges and counters of a replica, by name and the values of the labels:
// "fleet_reconciler_plans_total written".
func (r *replica) metrics(t testing.TB) map[string]float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				name = append(name, l.GetValue())
			}
			got[strings.Join(name, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}

// measured waits until a replica's metrics are these.
func (r *replica) measured(t testing.TB, what string, want map[string]float64) {
	t.Helper()
	var got map[string]float64
	defer func() {
		if t.Failed() {
			t.Logf("%s: %v, want %v", what, got, want)
		}
	}()
	fleettest.Eventually(t, soon, what, func() bool {
		got = r.metrics(t)
		for name, v := range want {
			if is, found := got[name]; !found || is != v {
				return false
			}
		}
		return true
	})
}

func TestMetrics_PlansAndBrake(t *testing.T) {
	s := newStack(t)
	for i := range 30 {
		s.device(fmt.Sprintf("d%02d", i), nil, "region", "north")
	}
	s.deployment("web", 1, "a", nil, "region", "north")
	r := s.start(settings{instance: "one", quiet: 300 * time.Millisecond})
	r.measured(t, "before anything is written", map[string]float64{
		"fleet_reconciler_plans_total written": 0, "fleet_reconciler_plans_total deposed": 0, "fleet_reconciler_puts_total": 0,
		"fleet_reconciler_last_plan_keys put": 0, "fleet_reconciler_deletes_total relabelled": 0,
		"fleet_fence_refusals_total desired-state deposed": 0, "fleet_fence_refusals_total desired-state collided": 0,
		"fleet_reconciler_hold_active": 0, "fleet_reconciler_deletes_pending held": 0, "fleet_reconciler_mirror_whole": 0,
		"fleet_reconciler_snapshots_refused_total Busy": 0,
	})
	s.whole()
	r.measured(t, "a plan was written", map[string]float64{
		"fleet_reconciler_puts_total": 30, "fleet_reconciler_last_plan_keys put": 30, "fleet_reconciler_last_plan_keys delete": 0,
		"fleet_reconciler_plans_total written": 1, "fleet_reconciler_mirror_whole": 1,
	})
	for i := range 15 {
		s.device(fmt.Sprintf("d%02d", i), nil, "region", "lost")
	}
	r.measured(t, "the brake holds", map[string]float64{
		"fleet_reconciler_hold_active": 1, "fleet_reconciler_hold_approved": 0, "fleet_reconciler_hold_deletes": 15,
		"fleet_reconciler_hold_keys": 30, "fleet_reconciler_deletes_pending held": 15,
	})
	hold, err := fleet.DecodeHold([]byte(s.tap.get(fleet.KeyHold).value))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.CallRetry[fleet.HoldApproveRequest, fleet.HoldApproveResponse](t.Context(), s.ctl, fleet.HoldApprove, fleet.HoldApproveRequest{ID: hold.ID}); err != nil {
		t.Fatal(err)
	}
	r.measured(t, "the deletes passed", map[string]float64{
		"fleet_reconciler_hold_active": 0, "fleet_reconciler_hold_deletes": 0, "fleet_reconciler_deletes_pending held": 0,
		"fleet_reconciler_deletes_total relabelled": 15, "fleet_reconciler_puts_total": 30,
	})
}
