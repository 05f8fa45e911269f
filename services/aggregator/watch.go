package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/service"
	"harmony.dev/services/aggregator/acting"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/staleness"
	"harmony.dev/services/aggregator/view"
)

// watch keeps the projection's clock going on every replica, and tells health what is out of order.
type watch struct {
	view    *view.View
	holder  *acting.Holder
	elector *kv.Elector
	leases  *kv.Bucket
	health  *service.Health
	config  staleness.Config

	mu     sync.Mutex
	moment view.Moment
}

// run looks every tick until ctx is done.
func (w *watch) run(ctx context.Context, tick time.Duration) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	created := false
	for {
		if !created {
			created = w.provision(ctx)
		}
		w.look()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// provision creates the bucket of the lease, which the patcher reads too: an owner creates its buckets
// first thing, not only when it campaigns.
func (w *watch) provision(ctx context.Context) bool {
	err := w.leases.Ensure(ctx)
	var reason *fleet.Reason
	if err != nil && ctx.Err() == nil {
		reason = &fleet.Reason{Reason: "LeaseBucket", Message: err.Error()}
	}
	w.health.Degraded("leases", reason)
	return err == nil
}

func (w *watch) look() {
	var m view.Moment
	devices := 0
	w.view.Read(func(s *projection.State, now view.Moment) { m, devices = now, s.Known() })
	w.mu.Lock()
	w.moment = m
	w.mu.Unlock()
	w.health.Degraded("lease", w.elector.Reason())
	w.health.Degraded("heartbeats", w.silence(m, devices))
	w.health.Degraded("statuses", w.holder.StatusTrouble())
	w.health.Degraded("devices", w.holder.DeviceTrouble())
}

// silence returns the one reason that stands for all devices of a fleet that fell silent at once.
func (w *watch) silence(m view.Moment, devices int) *fleet.Reason {
	v := m.Verdict
	if !m.InView || !v.Hushed || !v.Silent && v.Quiet < w.config.StaleAfter {
		return nil
	}
	text := fmt.Sprintf("none of %d devices has been heard of for %s: check the devices' way to NATS", devices, v.Quiet.Truncate(time.Second))
	return &fleet.Reason{Reason: fleet.ReasonHeartbeatsSilent, Message: text}
}

// waiting returns what statuses wait for although nothing is lost.
func (w *watch) waiting() []fleet.Reason {
	w.mu.Lock()
	m := w.moment
	w.mu.Unlock()
	reasons := w.holder.Waiting()
	switch {
	case !m.InView:
	case !m.Whole:
		reasons = append(reasons, fleet.Reason{Reason: "MirrorNotWhole", Message: m.Reason})
	case m.Verdict.Undecided:
		reasons = append(reasons, fleet.Reason{Reason: "NobodyHeard", Message: "no device has been heard of since the start: whether they are silent is known in a few minutes"})
	}
	return reasons
}
