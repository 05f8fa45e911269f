package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
)

// gauges shows what the brake and the mirror are like, as every replica sees them. It keeps nothing: each scrape asks
// the view.
type gauges struct {
	view                          *view.View
	active, approved, deletes, of *prometheus.Desc
	whole                         *prometheus.Desc
}

func newGauges(v *view.View) *gauges {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("fleet_reconciler_"+name, help, nil, nil)
	}
	return &gauges{
		view:     v,
		active:   desc("hold_active", "1 while the brake holds deletes back until a person approves them."),
		approved: desc("hold_approved", "1 while a hold is approved whose deletes are not all carried out yet."),
		deletes:  desc("hold_deletes", "Deletes that the hold is about, 0 without a hold."),
		of:       desc("hold_keys", "Keys that there were when the hold was made, 0 without a hold."),
		whole:    desc("mirror_whole", "1 while the patcher says that fleet-resources is a whole mirror: else nothing is planned."),
	}
}

// Describe sends every description.
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.active, g.approved, g.deletes, g.of, g.whole} {
		out <- d
	}
}

// Collect asks the view.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	var active, approved, deletes, of, whole int
	g.view.Do(func(s *plan.State, now view.Now) {
		if h, ok := s.Hold(); ok {
			approved, deletes, of = number(h.Approved), h.Deletes, h.Keys
			active = number(!h.Approved)
		}
		whole = number(now.Synced && s.MirrorWhole())
	})
	send := func(d *prometheus.Desc, v int) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	send(g.active, active)
	send(g.approved, approved)
	send(g.deletes, deletes)
	send(g.of, of)
	send(g.whole, whole)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
