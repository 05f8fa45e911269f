package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/status"
	"harmony.dev/services/aggregator/view"
)

// gauges shows the fleet as metrics. It keeps nothing: each scrape asks the view.
type gauges struct {
	view                                       *view.View
	devices, deployments, pairs, silent, whole *prometheus.Desc
}

func newGauges(v *view.View) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("fleet_"+name, help, labels, nil)
	}
	return &gauges{
		view:        v,
		devices:     desc("devices", "Devices by state: Fresh and Stale have been heard of, NeverSeen have a Device resource and no more.", "state"),
		deployments: desc("deployments", "Deployments by what their status says: Ready, Reconciling, Stalled, or NotReady when it says none of them.", "state"),
		pairs:       desc("pairs", "Desired pairs of device and Deployment, by what they count as.", "class"),
		silent:      desc("heartbeats_silent", "1 while no device at all is heard of."),
		whole:       desc("aggregator_mirror_whole", "1 while the patcher says that fleet-resources is a whole mirror: else nothing is written that follows from it."),
	}
}

// Describe sends every description.
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.devices, g.deployments, g.pairs, g.silent, g.whole} {
		out <- d
	}
}

// tally is what a scrape shows of the fleet.
type tally struct {
	moment      view.Moment
	devices     map[fleet.DeviceState]int
	deployments map[string]int
	sum         fleet.Aggregate
}

// notReady is a Deployment of which no condition is True.
const notReady = "NotReady"

func (g *gauges) count() tally {
	t := tally{deployments: map[string]int{
		fleet.ConditionReady: 0, fleet.ConditionReconciling: 0, fleet.ConditionStalled: 0, notReady: 0,
	}}
	g.view.Read(func(s *projection.State, now view.Moment) {
		t.moment = now
		t.devices = map[fleet.DeviceState]int{
			fleet.DeviceFresh: s.Known() - s.Stale(), fleet.DeviceStale: s.Stale(), fleet.DeviceNeverSeen: s.NeverSeen(),
		}
		for _, name := range s.DeploymentNames() {
			d, _ := s.Deployment(name)
			t.sum.Running += d.Aggregate.Running
			t.sum.Failed += d.Aggregate.Failed
			t.sum.Pending += d.Aggregate.Pending
			t.sum.Stale += d.Aggregate.Stale
			if d.Registered {
				t.deployments[stateOf(status.Of(d, now.Verdict.Silent))]++
			}
		}
	})
	return t
}

// stateOf returns the type of the condition that is True; at most one is.
func stateOf(s fleet.DeploymentStatus) string {
	for _, c := range s.Conditions {
		if c.Status == fleet.ConditionTrue {
			return c.Type
		}
	}
	return notReady
}

// Collect counts, and sends nothing of the fleet while the sources are not in view.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	t := g.count()
	send := func(d *prometheus.Desc, v int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	send(g.whole, number(t.moment.Whole))
	if !t.moment.InView {
		return
	}
	for state, n := range t.devices {
		send(g.devices, n, string(state))
	}
	for state, n := range t.deployments {
		send(g.deployments, n, state)
	}
	send(g.pairs, t.sum.Running, string(fleet.ClassRunning))
	send(g.pairs, t.sum.Failed, string(fleet.ClassFailed))
	send(g.pairs, t.sum.Pending, string(fleet.ClassPending))
	send(g.pairs, t.sum.Stale, string(fleet.ClassStale))
	send(g.silent, number(t.moment.Verdict.Silent))
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
