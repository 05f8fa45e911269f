package holder

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/services/reconciler/plan"
)

// Metrics counts what the holder does.
type Metrics struct {
	puts    prometheus.Counter
	deletes *prometheus.CounterVec
	took    prometheus.Histogram
	pending *prometheus.GaugeVec
	refused *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		puts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_reconciler_puts_total", Help: "Keys of desired-state written by this instance.",
		}),
		deletes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_reconciler_deletes_total", Help: "Keys of desired-state deleted by this instance, by cause.",
		}, []string{"cause"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fleet_reconciler_plan_seconds", Help: "Time to compute a plan.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 4, 10),
		}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fleet_reconciler_deletes_pending", Help: "Deletes of the last plan that are not carried out now: waiting for a quiet mirror, held by the brake, or blocked while the mirror cannot be trusted.",
		}, []string{"why"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_reconciler_snapshots_refused_total", Help: "Requests of devices for their desired state that were refused unread: too many (Busy), too large, or with nowhere to answer.",
		}, []string{"reason"}),
	}
	for _, c := range []prometheus.Collector{m.puts, m.deletes, m.took, m.pending, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) planned(took time.Duration, p *plan.Plan) {
	m.took.Observe(took.Seconds())
	m.pending.WithLabelValues("waiting").Set(float64(len(p.Waiting)))
	m.pending.WithLabelValues("held").Set(float64(len(p.Held)))
	m.pending.WithLabelValues("blocked").Set(float64(len(p.Blocked)))
}

// refuse counts a device's request that was not read.
func (m *Metrics) refuse(reason string) { m.refused.WithLabelValues(reason).Inc() }

// idle says that this instance plans no more.
func (m *Metrics) idle() { m.pending.Reset() }

func (m *Metrics) wrote(p *plan.Plan) {
	for _, g := range p.Groups {
		m.puts.Add(float64(len(g.Puts)))
		for _, d := range g.Deletes {
			m.deletes.WithLabelValues(string(d.Cause)).Inc()
		}
	}
}
