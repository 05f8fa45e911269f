package holder

import (
	"context"
	"fmt"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/reconciler/plan"
)

// releases turns finalizers that nothing needs any more into asks. They are asked for under the epoch
// that the term has when they are asked.
func (h *Holder) releases(t *kv.Term, all []plan.Release) []ask {
	asks := make([]ask, 0, len(all))
	for _, r := range all {
		asks = append(asks, ask{
			key: fmt.Sprintf("%s %s (uid %s)", r.Kind, r.Name, r.UID),
			call: func(ctx context.Context) error {
				_, err := rpc.Call[fleet.FinalizerReleaseRequest, fleet.ApplyResponse](ctx, h.cfg.Control, fleet.FinalizerRelease, fleet.FinalizerReleaseRequest{
					Sender: sender(t), Kind: r.Kind, Name: r.Name, UID: r.UID, Finalizer: fleet.FinalizerDesiredState,
				})
				return err
			},
		})
	}
	return asks
}

// announce has an Event recorded for each Deployment that a written plan holds back.
func (h *Holder) announce(t *kv.Term, p plan.Plan) {
	for _, g := range p.Groups {
		if g.Applied == nil || g.Applied.Value == nil || g.Applied.Value.Held == "" {
			continue
		}
		event := fleet.EventRecordRequest{
			Kind: fleet.KindDeployment, Name: string(g.Deployment), UID: g.Applied.Value.UID,
			Type: "Warning", Reason: fleet.ReasonHeld,
			Message: "deletes look like lost truth and wait for a person: " + HowToApprove(g.Applied.Value.Held),
		}
		h.asker.tell(ask{
			key: fmt.Sprintf("event %s %s", g.Applied.Value.Held, g.Deployment),
			call: func(ctx context.Context) error {
				event.Sender = sender(t)
				_, err := rpc.Call[fleet.EventRecordRequest, fleet.EventRecordResponse](ctx, h.cfg.Control, fleet.EventRecord, event)
				return err
			},
		})
	}
}

func sender(t *kv.Term) fleet.Sender {
	return fleet.Sender{Service: fleet.ServiceReconciler, Epoch: t.Epoch()}
}
