package acting

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// Metrics counts what the patcher is asked for. A nil one counts nothing.
type Metrics struct{ requests *prometheus.CounterVec }

// outcomeRecorded is the outcome of an Event that was recorded.
const outcomeRecorded = "recorded"

// refusals are the outcomes of what is refused, by the code of the answer.
var refusals = map[fleet.Code]string{
	fleet.CodeInvalid: "invalid", fleet.CodeConflict: "conflict", fleet.CodeGone: "deposed", fleet.CodeBusy: "busy",
	fleet.CodeInternal: "refused", fleet.CodeUnavailable: "unavailable",
}

// NewMetrics registers the metrics. All series are there from the start.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fleet_patcher_requests_total",
		Help: "Requests of the other services that this instance answered as the holder, by what became of them.",
	}, []string{"endpoint", "outcome"})}
	for _, ep := range []fleet.Endpoint{fleet.StatusApply, fleet.DeviceApply, fleet.FinalizerRelease} {
		for _, outcome := range []string{fleet.ResultPatched, fleet.ResultUnchanged, fleet.ResultGone} {
			m.requests.WithLabelValues(ep.Name, outcome)
		}
		m.refusedAtZero(ep)
	}
	m.requests.WithLabelValues(fleet.EventRecord.Name, outcomeRecorded)
	m.refusedAtZero(fleet.EventRecord)
	return m, r.Register(m.requests)
}

func (m *Metrics) refusedAtZero(ep fleet.Endpoint) {
	for _, outcome := range refusals {
		m.requests.WithLabelValues(ep.Name, outcome)
	}
}

// counted returns a handler that is counted. What a standby is silent about is not.
func counted[Req, Resp any](m *Metrics, ep fleet.Endpoint, outcome func(Resp) string, handle func(context.Context, Req) (Resp, error)) func(context.Context, Req) (Resp, error) {
	return func(ctx context.Context, req Req) (Resp, error) {
		resp, err := handle(ctx, req)
		switch {
		case m == nil || errors.Is(err, rpc.ErrSilent):
		case err == nil:
			m.requests.WithLabelValues(ep.Name, outcome(resp)).Inc()
		default:
			m.requests.WithLabelValues(ep.Name, refusal(err)).Inc()
		}
		return resp, err
	}
}

// refusal names a refusal. An error without a code of ours is one that nobody foresaw.
func refusal(err error) string {
	if outcome, known := refusals[fleet.CodeOf(err)]; known {
		return outcome
	}
	return refusals[fleet.CodeInternal]
}

func result(r fleet.ApplyResponse) string { return r.Result }

func recorded(fleet.EventRecordResponse) string { return outcomeRecorded }
