package acting

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics measures what a Holder does.
type Metrics struct {
	Sent    *prometheus.CounterVec // requests to the patcher, by kind and outcome
	Removed prometheus.Counter
	Resyncs prometheus.Counter

	ticks  *prometheus.HistogramVec // by loop
	delays prometheus.Histogram     // from a report to its status
}

// NewMetrics returns the metrics, registered. All series are there from the start.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		Sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_aggregator_requests_total", Help: "Requests to the patcher, by what they are about and what became of them.",
		}, []string{"kind", "outcome"}),
		Removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_aggregator_keys_removed_total", Help: "Keys of devices that were removed as garbage.",
		}),
		Resyncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_aggregator_resync_requests_total", Help: "Requests to agents to send everything again.",
		}),
		ticks: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fleet_aggregator_tick_seconds", Help: "Time that one round of a loop of the lease holder takes.",
			Buckets: []float64{.001, .005, .02, .1, .25, .5, 1, 2, 5, 10, 30},
		}, []string{"loop"}),
		delays: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fleet_aggregator_report_to_status_seconds", Help: "Time from the NATS server's stamp of a report to the acknowledged status that is the first to show it: of each status, the oldest such report. By the server's clock as this instance knows it: what it has not read yet is not in it.",
			Buckets: []float64{.1, .25, .5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300},
		}),
	}
	for _, kind := range []string{"status", "device", "finalizer"} {
		for o := done; o <= deposed; o++ {
			m.Sent.WithLabelValues(kind, o.String())
		}
	}
	for _, loop := range []string{loopStatuses, loopDevices, loopSweep, loopCaller, loopSight} {
		m.ticks.WithLabelValues(loop)
	}
	r.MustRegister(m.Sent, m.Removed, m.Resyncs, m.ticks, m.delays)
	return m
}

func (m *Metrics) sent(kind string, o outcome) {
	m.Sent.WithLabelValues(kind, o.String()).Inc()
}

// shown takes in how long a report waited for the status that shows it. The clock may go back a little.
func (m *Metrics) shown(after time.Duration) { m.delays.Observe(max(after, 0).Seconds()) }

// ticked returns a round of a loop that is measured.
func (m *Metrics) ticked(loop string, tick func(context.Context) error) func(context.Context) error {
	seconds := m.ticks.WithLabelValues(loop)
	return func(ctx context.Context) error {
		began := time.Now()
		err := tick(ctx)
		seconds.Observe(time.Since(began).Seconds())
		return err
	}
}

// String returns the outcome as the metrics show it.
func (o outcome) String() string {
	switch o {
	case done:
		return "done"
	case again:
		return "again"
	case rebuild:
		return "rebuilding"
	case silence:
		return "unavailable"
	case deposed:
		return "deposed"
	}
	return "unknown"
}
