package herald

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
	"harmony.dev/services/patcher/status"
)

const (
	// lasts is how long a transition must last to be told.
	lasts = 3 * time.Second
	// longest is when one that goes on changing is told as what it is then.
	longest = 15 * time.Second
	// mostPerSecond is how many transitions are told in a second at most, however many writes the apiserver takes.
	mostPerSecond = 10
	// share is one in how many writes the telling may take: Events and statuses have one limit.
	share = 20
	// mostWaiting is how many Deployments can have a transition that waits.
	mostWaiting = 4096
)

// Recorder records an Event, as a [kube.Recorder] does.
type Recorder interface {
	Record(ctx context.Context, e kube.Event, now time.Time) error
}

// Herald tells of transitions. It is safe for concurrent use.
type Herald struct {
	events Recorder
	log    *slog.Logger
	told   *prometheus.CounterVec
	rate   int // transitions in a second

	mu      sync.Mutex
	waiting *waiting
}

// What became of an Event.
const (
	outcomeRecorded = "recorded"
	outcomeLimited  = "limited" // its Deployment had its share for now
	outcomeFailed   = "failed"  // the apiserver did not take it
	outcomeDropped  = "dropped" // too many Deployments changed at once
)

// New returns a Herald that Run starts, with its metrics registered. Writes is how many the patcher makes in a second at most.
func New(events Recorder, writes float64, log *slog.Logger, metrics prometheus.Registerer) (*Herald, error) {
	told := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fleet_patcher_events_total", Help: "Kubernetes Events about transitions of Deployments, by what became of them.",
	}, []string{"outcome"})
	for _, outcome := range []string{outcomeRecorded, outcomeLimited, outcomeFailed, outcomeDropped} {
		told.WithLabelValues(outcome)
	}
	if err := metrics.Register(told); err != nil {
		return nil, err
	}
	return &Herald{events: events, log: log, told: told, rate: perSecond(writes), waiting: newWaiting(mostWaiting)}, nil
}

// perSecond returns how many transitions are told in a second where so many writes are made at most.
func perSecond(writes float64) int {
	return int(min(mostPerSecond, max(1, writes/share)))
}

// Note takes in that the status of a Deployment was written. It does not block.
func (h *Herald) Note(name, uid string, from, to status.Stage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if !h.waiting.note(transition{name: name, uid: uid, from: from, to: to, due: now.Add(lasts), by: now.Add(longest)}) {
		h.told.WithLabelValues(outcomeDropped).Inc()
	}
}

// Run tells what is due, until ctx is done.
func (h *Herald) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			for _, t := range h.take(now) {
				h.tell(ctx, t)
			}
		}
	}
}

func (h *Herald) take(now time.Time) []transition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting.take(now, h.rate)
}

func (h *Herald) tell(ctx context.Context, t transition) {
	for _, n := range status.Tell(t.from, t.to) {
		err := h.events.Record(ctx, kube.Event{
			Kind: kube.Deployments, Name: t.name, UID: t.uid, Type: n.Type, Reason: n.Reason, Message: fleet.ClipError(n.Message),
		}, time.Now())
		h.told.WithLabelValues(outcomeOf(err)).Inc()
		if err != nil {
			h.log.Debug("event not recorded", "deployment", t.name, "reason", n.Reason, "err", err)
		}
	}
}

func outcomeOf(err error) string {
	switch {
	case err == nil:
		return outcomeRecorded
	case errors.Is(err, kube.ErrTooManyEvents):
		return outcomeLimited
	}
	return outcomeFailed
}
