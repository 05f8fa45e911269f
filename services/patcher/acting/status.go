package acting

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
	"harmony.dev/services/patcher/status"
)

// ApplyStatus makes the status of a Deployment the requested one.
func (h *Handler) ApplyStatus(ctx context.Context, req fleet.StatusApplyRequest) (fleet.ApplyResponse, error) {
	var none fleet.ApplyResponse
	if err := h.admit(req.Sender, fleet.ServiceAggregator); err != nil {
		return none, err
	}
	name := string(req.Deployment)
	defer h.turn(kube.Deployments, name)()
	if err := h.verify(ctx, req.Sender); err != nil {
		return none, err
	}
	resource := h.cfg.Stores[kube.Deployments].Get(name)
	if resource == nil || string(resource.GetUID()) != req.UID {
		return none, conflict("UIDChanged", "there is no Deployment %s with uid %s", name, req.UID)
	}
	if generation := resource.GetGeneration(); req.Generation > generation {
		return none, conflict("GenerationAhead", "Deployment %s is at generation %d, the status is for %d", name, generation, req.Generation)
	}
	if observed := status.Observed(statusOf(resource)); req.Status.ObservedGeneration < observed && observed <= resource.GetGeneration() {
		return none, conflict("ObservedBehind", "Deployment %s was at observedGeneration %d, the status says %d: it would take back what was said before",
			name, observed, req.Status.ObservedGeneration)
	}
	if err := h.ledger.enter(req.Epoch, req.UID, req.Seq, h.cfg.Now(), h.cfg.Epochs[req.Service].holds); err != nil {
		return none, err
	}
	patch, err := status.Deployment(statusOf(resource), req.Status, h.cfg.Now())
	if err != nil {
		return none, err
	}
	result, err := h.writeStatus(ctx, kube.Deployments, resource, patch)
	if err == nil && patch != nil && h.cfg.Herald != nil {
		h.cfg.Herald.Note(name, req.UID, status.StoredStage(statusOf(resource)), status.StageOf(req.Status))
	}
	return result, err
}

// writeStatus writes a merge patch of a status, unless there is nothing to change.
func (h *Handler) writeStatus(ctx context.Context, k kube.Kind, resource *unstructured.Unstructured, patch map[string]any) (fleet.ApplyResponse, error) {
	if patch == nil {
		return answer(fleet.ResultUnchanged), nil
	}
	if _, err := h.cfg.Writer.Merge(ctx, k, resource, map[string]any{"status": patch}, "status"); err != nil {
		return fleet.ApplyResponse{}, kube.Refusal("write the status of "+k.Name+" "+resource.GetName(), err)
	}
	return answer(fleet.ResultPatched), nil
}

func statusOf(resource *unstructured.Unstructured) map[string]any {
	stored, _ := resource.Object["status"].(map[string]any)
	return stored
}
