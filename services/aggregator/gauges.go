package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/view"
)

// gauges shows the fleet as metrics. It keeps nothing: each scrape asks the view.
type gauges struct {
	view                   *view.View
	devices, pairs, silent *prometheus.Desc
}

func newGauges(v *view.View) *gauges {
	return &gauges{
		view:    v,
		devices: prometheus.NewDesc("fleet_devices", "Devices that have been heard of, by state.", []string{"state"}, nil),
		pairs:   prometheus.NewDesc("fleet_pairs", "Desired pairs of device and Deployment, by what they count as.", []string{"class"}, nil),
		silent:  prometheus.NewDesc("fleet_heartbeats_silent", "1 while no device at all is heard of.", nil, nil),
	}
}

// Describe sends every description.
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	out <- g.devices
	out <- g.pairs
	out <- g.silent
}

// Collect counts, and sends nothing while the sources are not in view.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	var m view.Moment
	var sum fleet.Aggregate
	known, stale := 0, 0
	g.view.Read(func(s *projection.State, now view.Moment) {
		m, known, stale = now, s.Known(), s.Stale()
		for _, name := range s.DeploymentNames() {
			d, _ := s.Deployment(name)
			sum.Running += d.Aggregate.Running
			sum.Failed += d.Aggregate.Failed
			sum.Pending += d.Aggregate.Pending
			sum.Stale += d.Aggregate.Stale
		}
	})
	if !m.InView {
		return
	}
	send := func(d *prometheus.Desc, v int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	send(g.devices, known-stale, string(fleet.DeviceFresh))
	send(g.devices, stale, string(fleet.DeviceStale))
	send(g.pairs, sum.Running, string(fleet.ClassRunning))
	send(g.pairs, sum.Failed, string(fleet.ClassFailed))
	send(g.pairs, sum.Pending, string(fleet.ClassPending))
	send(g.pairs, sum.Stale, string(fleet.ClassStale))
	silent := 0
	if m.Verdict.Silent {
		silent = 1
	}
	send(g.silent, silent)
}
