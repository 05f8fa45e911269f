package holder

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/reconciler/plan"
)

// Metrics measures what the holder does.
type Metrics struct {
	puts    prometheus.Counter
	deletes *prometheus.CounterVec
	took    prometheus.Histogram
	writes  prometheus.Histogram
	plans   *prometheus.CounterVec
	last    *prometheus.GaugeVec
	pending *prometheus.GaugeVec
	refused *prometheus.CounterVec
}

// What became of a plan.
const (
	planWritten = "written"
	planPartly  = "partly"  // the next plan holds the rest
	planSingly  = "singly"  // it was refused as a whole: each Deployment was written by itself
	planDeposed = "deposed" // a newer holder exists
	planUnknown = "unknown" // nobody knows whether it was written: planned anew under a new epoch
	planFailed  = "failed"
)

// NewMetrics registers the metrics. All series whose labels are known are there from the start.
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
		writes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fleet_reconciler_write_seconds", Help: "Time to write a plan and see it in the bucket, whatever became of it.",
			Buckets: []float64{.001, .005, .02, .1, .5, 1, 2, 5, 10, 30},
		}),
		plans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_reconciler_plans_total", Help: "Plans that had anything to write, by what became of them.",
		}, []string{"outcome"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fleet_reconciler_last_plan_keys", Help: "Keys in the last plan that had anything to write.",
		}, []string{"action"}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fleet_reconciler_deletes_pending", Help: "Deletes of the last plan that are not carried out now: waiting for a quiet mirror, held by the brake, or blocked while the mirror cannot be trusted.",
		}, []string{"why"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_reconciler_snapshots_refused_total", Help: "Requests of devices for their desired state that were refused unread: too many (Busy), too large, or with nowhere to answer.",
		}, []string{"reason"}),
	}
	m.atZero()
	for _, c := range []prometheus.Collector{m.puts, m.deletes, m.took, m.writes, m.plans, m.last, m.pending, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// atZero has the series be there before anything has happened: what comes into being at 1 has no rate.
func (m *Metrics) atZero() {
	for _, cause := range []fleet.Cause{
		fleet.CauseDeleted, fleet.CauseQuarantined, fleet.CauseVanished, fleet.CauseEdited, fleet.CauseRegressed, fleet.CauseRelabelled,
	} {
		m.deletes.WithLabelValues(string(cause))
	}
	for _, outcome := range []string{planWritten, planPartly, planSingly, planDeposed, planUnknown, planFailed} {
		m.plans.WithLabelValues(outcome)
	}
	for _, reason := range []string{rpc.ReasonBusy, rpc.ReasonTooLarge, rpc.ReasonNoInbox} {
		m.refused.WithLabelValues(reason)
	}
	m.last.WithLabelValues("put")
	m.last.WithLabelValues("delete")
	m.idle()
}

func (m *Metrics) planned(took time.Duration, p *plan.Plan) {
	m.took.Observe(took.Seconds())
	m.pend(len(p.Waiting), len(p.Held), len(p.Blocked))
}

func (m *Metrics) pend(waiting, held, blocked int) {
	m.pending.WithLabelValues("waiting").Set(float64(waiting))
	m.pending.WithLabelValues("held").Set(float64(held))
	m.pending.WithLabelValues("blocked").Set(float64(blocked))
}

// refuse counts a device's request that was not read.
func (m *Metrics) refuse(reason string) { m.refused.WithLabelValues(reason).Inc() }

// idle says that this instance plans no more.
func (m *Metrics) idle() { m.pend(0, 0, 0) }

// carriedOut takes in what became of a plan.
func (m *Metrics) carriedOut(p *plan.Plan, outcome string, took time.Duration) {
	puts, deletes := p.Counts()
	m.last.WithLabelValues("put").Set(float64(puts))
	m.last.WithLabelValues("delete").Set(float64(deletes))
	m.plans.WithLabelValues(outcome).Inc()
	m.writes.Observe(took.Seconds())
}

// wrote takes in the keys that were written.
func (m *Metrics) wrote(groups []plan.Group) {
	for _, g := range groups {
		m.puts.Add(float64(len(g.Puts)))
		for _, d := range g.Deletes {
			m.deletes.WithLabelValues(string(d.Cause)).Inc()
		}
	}
}

// ending names what became of a plan whose write ended with that error.
func ending(err error) string {
	switch {
	case errors.Is(err, kv.ErrDeposed):
		return planDeposed
	case errors.Is(err, kv.ErrUnknownOutcome), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return planUnknown
	}
	return planFailed
}
