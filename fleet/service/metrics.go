package service

import (
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"harmony.dev/fleet"
)

// newRegistry returns a registry with what every service measures.
func newRegistry(h *Health) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newHealthCollector(h),
	)
	return r
}

// healthCollector shows the health as metrics: each scrape asks. All that it keeps is which reasons there were, which
// are words of the code: a series that ends with its reason would be taken for a lost scrape.
type healthCollector struct {
	health *Health

	mu   sync.Mutex
	seen map[string]bool

	build, connected, state, ready, reason    *prometheus.Desc
	synced, entries, poison, lag, passes, seq *prometheus.Desc
	leaseHeld, epoch                          *prometheus.Desc
}

func newHealthCollector(h *Health) *healthCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("fleet_"+name, help, labels, nil)
	}
	return &healthCollector{
		health:    h,
		seen:      map[string]bool{reasonFailed: true},
		build:     desc("build_info", "Always 1; what runs.", "service", "replica", "version", "fleet", "go_version"),
		connected: desc("nats_connected", "1 while the NATS connection is up.", "connection"),
		state:     desc("state", "1 for the state that the instance is in, else 0.", "state"),
		ready:     desc("ready", "1 while /readyz says yes."),
		reason:    desc("reason", "Number of things that are wrong, by reason, of which there are as many as the code has.", "reason"),
		synced:    desc("source_synced", "1 while the source is in view up to its barrier.", "source"),
		entries:   desc("source_entries", "Live entries in view.", "source"),
		poison:    desc("source_poison_entries", "Entries set aside because they are not of the contract.", "source"),
		lag:       desc("source_lag_messages", "Messages of the pass that are not read yet.", "source"),
		passes:    desc("source_passes_total", "How often the source was read from the beginning.", "source"),
		seq:       desc("source_sequence", "Last sequence in view.", "source"),
		leaseHeld: desc("lease_held", "1 while this instance holds the lease.", "bucket"),
		epoch:     desc("epoch", "Fencing token of this instance, 0 while it does not hold the lease.", "bucket"),
	}
}

// Describe sends every description.
func (c *healthCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.build, c.connected, c.state, c.ready, c.reason, c.synced, c.entries, c.poison, c.lag, c.passes, c.seq, c.leaseHeld, c.epoch,
	} {
		out <- d
	}
}

// Collect asks the health and sends it.
func (c *healthCollector) Collect(out chan<- prometheus.Metric) {
	h := c.health.Snapshot()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.build, 1, h.Service, h.Instance, h.Version, h.Fleet, runtime.Version())
	for _, l := range c.health.linkList() {
		gauge(c.connected, number(l.connected()), l.name)
	}
	for _, s := range []fleet.State{fleet.StateStarting, fleet.StateReplaying, fleet.StateConverging, fleet.StateReady, fleet.StateDegraded, fleet.StateHeld} {
		gauge(c.state, number(h.State == s), string(s))
	}
	gauge(c.ready, number(h.Ready))
	for reason, n := range c.reasons(h.Reasons) {
		gauge(c.reason, float64(n), reason)
	}
	for _, s := range h.Sources {
		gauge(c.synced, number(s.Synced), s.Name)
		gauge(c.entries, float64(s.Entries), s.Name)
		gauge(c.poison, float64(s.Poison), s.Name)
		gauge(c.lag, float64(s.Total-min(s.Done, s.Total)), s.Name)
		gauge(c.seq, float64(s.Seq), s.Name)
		out <- prometheus.MustNewConstMetric(c.passes, prometheus.CounterValue, float64(s.Pass), s.Name)
	}
	if h.Lease != nil {
		gauge(c.leaseHeld, number(h.Lease.Held), h.Lease.Bucket)
		gauge(c.epoch, float64(h.Lease.Epoch), h.Lease.Bucket)
	}
}

// reasons counts those that there are; one that there was counts 0.
func (c *healthCollector) reasons(now []fleet.Reason) map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := make(map[string]int, len(c.seen))
	for _, r := range now {
		c.seen[r.Reason] = true
		counts[r.Reason]++
	}
	for reason := range c.seen {
		counts[reason] += 0
	}
	return counts
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
