package acting

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
)

// ReleaseFinalizer takes a finalizer off a resource that is being deleted.
func (h *Handler) ReleaseFinalizer(ctx context.Context, req fleet.FinalizerReleaseRequest) (fleet.ApplyResponse, error) {
	var none fleet.ApplyResponse
	if err := h.admit(req.Sender, releaser(req.Finalizer)); err != nil {
		return none, err
	}
	kind, err := kube.KindNamed(req.Kind)
	if err != nil {
		return none, fleet.Errorf(fleet.CodeInvalid, "RequestInvalid", "%v", err)
	}
	defer h.turn(kind, req.Name)()
	if err := h.verify(ctx, req.Sender); err != nil {
		return none, err
	}
	resource := h.cfg.Stores[kind].Get(req.Name)
	if resource == nil || string(resource.GetUID()) != req.UID {
		return answer(fleet.ResultGone), nil
	}
	if resource.GetDeletionTimestamp() == nil {
		return none, conflict("NotDeleting", "%s %s is not being deleted", kind.Name, req.Name)
	}
	index := slices.Index(resource.GetFinalizers(), req.Finalizer)
	if index < 0 {
		return answer(fleet.ResultUnchanged), nil
	}
	_, err = h.cfg.Writer.RemoveFinalizer(ctx, kind, resource, index)
	switch {
	case apierrors.IsNotFound(err):
		return answer(fleet.ResultGone), nil
	case apierrors.IsInvalid(err): // a test of the patch did not hold
		return none, conflict("Conflict", "%s %s has changed since: %v", kind.Name, req.Name, err)
	case err != nil:
		return none, kube.Refusal("release a finalizer of "+kind.Name+" "+req.Name, err)
	}
	return answer(fleet.ResultPatched), nil
}

// releaser returns the service that knows when a finalizer may go.
func releaser(finalizer string) string {
	if finalizer == fleet.FinalizerDeviceData {
		return fleet.ServiceAggregator
	}
	return fleet.ServiceReconciler
}
