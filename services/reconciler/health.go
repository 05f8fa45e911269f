package main

import (
	"context"
	"fmt"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/reconciler/holder"
	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
)

// healthTeller is what the reconciler tells of itself, a service.Health.
type healthTeller interface {
	Source(name string, required bool, f func() fleet.Source)
	Lease(f func() *fleet.LeaseHealth)
	Converging(f func() bool)
	Degraded(key string, r *fleet.Reason)
	Held(r *fleet.Reason)
}

func (r *reconciler) tell(h healthTeller) {
	h.Source(fleet.BucketResources, true, r.view.MirrorSource)
	h.Source(fleet.BucketDesiredState, true, r.view.DesiredSource)
	h.Lease(r.elector.Health)
	h.Converging(r.holder.Converging)
}

// reasonsEvery is how often the reasons are looked at.
const reasonsEvery = 500 * time.Millisecond

// tellReasons keeps what is wrong up to date in the health until ctx is done.
func (r *reconciler) tellReasons(ctx context.Context, h healthTeller) error {
	tick := time.NewTicker(reasonsEvery)
	defer tick.Stop()
	for {
		mirror, hold := r.mirrorReason()
		h.Degraded("mirror", mirror)
		h.Held(hold)
		h.Degraded("lease", r.elector.Reason())
		h.Degraded("write", r.holder.Reason())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// mirrorReason returns what is wrong with a mirror that is in view, and the hold; each may be nil.
func (r *reconciler) mirrorReason() (mirror, held *fleet.Reason) {
	r.view.Do(func(s *plan.State, now view.Now) {
		if now.Synced && !s.MirrorWhole() {
			mirror = &fleet.Reason{
				Reason:  "MirrorNotSynced",
				Message: "fleet-resources is not a whole mirror yet: nothing is planned until fleet-patcher has written it",
			}
		}
		if h, ok := s.Hold(); ok && !h.Approved {
			held = &fleet.Reason{
				Reason:  fleet.ReasonHeld,
				Message: fmt.Sprintf("%d deletes of %d keys look like lost truth and wait for a person: %s", h.Deletes, h.Keys, holder.HowToApprove(h.ID)),
			}
		}
	})
	return mirror, held
}
