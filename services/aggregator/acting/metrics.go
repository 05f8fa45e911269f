package acting

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what a Holder does.
type Metrics struct {
	Sent    *prometheus.CounterVec // requests to the patcher, by kind and outcome
	Removed prometheus.Counter
	Resyncs prometheus.Counter
}

// NewMetrics returns the metrics, registered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		Sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_aggregator_requests_total", Help: "Requests to the patcher.",
		}, []string{"kind", "outcome"}),
		Removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_aggregator_keys_removed_total", Help: "Keys of devices that were removed as garbage.",
		}),
		Resyncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_aggregator_resync_requests_total", Help: "Requests to agents to send everything again.",
		}),
	}
	r.MustRegister(m.Sent, m.Removed, m.Resyncs)
	return m
}

func (m *Metrics) sent(kind string, o outcome) {
	m.Sent.WithLabelValues(kind, o.String()).Inc()
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
