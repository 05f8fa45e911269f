package acting

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/device"
	"harmony.dev/services/patcher/kube"
	"harmony.dev/services/patcher/status"
)

// ApplyDevice brings the reported labels and the status of a Device up to date, and creates the Device
// when the request knows of none and there is none.
func (h *Handler) ApplyDevice(ctx context.Context, req fleet.DeviceApplyRequest) (fleet.ApplyResponse, error) {
	var none fleet.ApplyResponse
	if err := h.admit(req.Sender, fleet.ServiceAggregator); err != nil {
		return none, err
	}
	defer h.turn(kube.Devices, string(req.Device))()
	if err := h.verify(ctx, req.Sender); err != nil {
		return none, err
	}
	resource := h.cfg.Stores[kube.Devices].Get(string(req.Device))
	created := resource == nil && req.UID == ""
	if created {
		var err error
		if resource, err = h.createDevice(ctx, req.Device, req.Labels); err != nil {
			return none, err
		}
	}
	switch {
	case resource == nil || req.UID != "" && string(resource.GetUID()) != req.UID:
		return none, conflict("UIDChanged", "there is no Device %s with uid %s", req.Device, req.UID)
	case resource.GetDeletionTimestamp() != nil:
		return none, conflict("Deleting", "Device %s is being deleted", req.Device)
	}
	resource, labelled, err := h.applyLabels(ctx, resource, req.Labels)
	if err != nil {
		return none, err
	}
	patch, err := status.Device(statusOf(resource), req.Status)
	if err != nil {
		return none, err
	}
	result, err := h.writeStatus(ctx, kube.Devices, resource, patch)
	if err == nil && (created || labelled) {
		result = answer(fleet.ResultPatched)
	}
	return result, err
}

// createDevice creates a Device with its labels and without finalizers. The keeper adds those, and
// mirrors it only then: nobody sees a Device that does not have its labels yet. One that somebody else
// created meanwhile is labelled instead.
func (h *Handler) createDevice(ctx context.Context, name fleet.DeviceID, labels map[string]string) (*unstructured.Unstructured, error) {
	created, err := h.cfg.Writer.ApplyNew(ctx, kube.Devices, string(name), device.LabelManager, labels)
	if err != nil {
		return nil, kube.Refusal("create Device "+string(name), err)
	}
	return created, nil
}

// applyLabels applies the reported labels and returns the Device as it is then.
func (h *Handler) applyLabels(ctx context.Context, resource *unstructured.Unstructured, reported map[string]string) (*unstructured.Unstructured, bool, error) {
	labels, changed := device.Labels(resource.Object, reported)
	if !changed {
		return resource, false, nil
	}
	applied, err := h.cfg.Writer.Apply(ctx, kube.Devices, resource, device.LabelManager, labels)
	if err != nil {
		return nil, false, kube.Refusal("apply the labels of Device "+resource.GetName(), err)
	}
	return applied, true, nil
}
