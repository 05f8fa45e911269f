package service

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// values returns the value of each series of a metric, by its labels: `reason="Held"`.
func values(t *testing.T, from prometheus.Gatherer, metric string) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != metric {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			got[strings.Join(labels, ",")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}

// A reason that is over is 0 and not gone: that would look like a scrape that was lost.
func TestMetrics_ReasonsGoBackToZero(t *testing.T) {
	h := newHealth(fleet.Health{Service: fleet.ServicePatcher})
	registry := newRegistry(h)
	if got := values(t, registry, "fleet_reason"); got[`reason="Failed"`] != 0 || len(got) == 0 {
		t.Errorf("before there is any: %v", got)
	}
	h.Degraded("a", &fleet.Reason{Reason: "Busy"})
	h.Degraded("b", &fleet.Reason{Reason: "Busy"})
	if got := values(t, registry, "fleet_reason"); got[`reason="Busy"`] != 2 {
		t.Errorf("two for one reason: %v", got)
	}
	h.Degraded("a", nil)
	h.Degraded("b", nil)
	if n, found := values(t, registry, "fleet_reason")[`reason="Busy"`]; !found || n != 0 {
		t.Errorf("afterwards: %v, found %t", n, found)
	}
}

func TestFence_CountsByOutcome(t *testing.T) {
	registry := prometheus.NewRegistry()
	now := kv.Refusals{}
	registry.MustRegister(NewFence("b", func() kv.Refusals { return now }))
	now = kv.Refusals{Deposed: 1, Collided: 5}
	got := values(t, registry, "fleet_fence_refusals_total")
	if got[`bucket="b",outcome="deposed"`] != 1 || got[`bucket="b",outcome="collided"`] != 5 || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}
