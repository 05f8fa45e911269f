package acting

import (
	"context"
	"errors"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
)

// RecordEvent records a Kubernetes Event about a resource.
func (h *Handler) RecordEvent(ctx context.Context, req fleet.EventRecordRequest) (fleet.EventRecordResponse, error) {
	var none fleet.EventRecordResponse
	if err := h.admit(req.Sender, fleet.ServiceReconciler, fleet.ServiceAggregator); err != nil {
		return none, err
	}
	kind, err := kube.KindNamed(req.Kind)
	if err != nil {
		return none, fleet.Errorf(fleet.CodeInvalid, "RequestInvalid", "%v", err)
	}
	if err := h.verify(ctx, req.Sender); err != nil {
		return none, err
	}
	err = h.cfg.Events.Record(ctx, kube.Event{
		Kind: kind, Name: req.Name, UID: req.UID, Type: req.Type, Reason: req.Reason,
		Message: fleet.ClipError(req.Message),
	}, h.cfg.Now())
	if errors.Is(err, kube.ErrTooManyEvents) {
		return none, fleet.Errorf(fleet.CodeBusy, "TooManyEvents", "%v", err)
	}
	if err != nil {
		return none, kube.Refusal("record an event about "+req.Name, err)
	}
	return none, nil
}
