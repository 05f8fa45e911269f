package fleet

import (
	"fmt"
	"maps"
	"slices"
)

// Validate wants a selector, so that nobody hits the whole fleet by leaving it out.
func (r SelectorMatchRequest) Validate() error {
	if r.Selector == nil {
		return fmt.Errorf("%w: there is no selector; {} is the one that matches every device", ErrInvalid)
	}
	return r.Page.Validate()
}

// Validate checks the limit.
func (p Page) Validate() error {
	if p.Limit < 0 || p.Limit > MaxLimit {
		return fmt.Errorf("%w: limit %d is not between 0 and %d", ErrInvalid, p.Limit, MaxLimit)
	}
	return nil
}

// Size returns how many items the page asks for: Limit, or [DefaultLimit] when it is zero.
func (p Page) Size() int {
	if p.Limit == 0 {
		return DefaultLimit
	}
	return p.Limit
}

// Validate checks the sender, the Deployment and that the counts add up. Whether the sender's epoch is
// the current one, the patcher looks up.
func (r StatusApplyRequest) Validate() error {
	if err := r.check(); err != nil {
		return err
	}
	if err := r.Deployment.Validate(); err != nil {
		return err
	}
	if err := validateUID("status", r.UID); err != nil {
		return err
	}
	return r.Status.Aggregate.Validate()
}

// Validate checks the sender, the device and the labels.
func (r DeviceApplyRequest) Validate() error {
	if err := r.check(); err != nil {
		return err
	}
	if err := r.Device.Validate(); err != nil {
		return err
	}
	if r.UID != "" {
		if err := validateUID("device", r.UID); err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		if err := ValidateLabel(k, r.Labels[k]); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks the sender, the resource and that the finalizer is one of its kind.
func (r FinalizerReleaseRequest) Validate() error {
	if err := r.check(); err != nil {
		return err
	}
	if err := validateResource(r.Kind, r.Name); err != nil {
		return err
	}
	if r.Finalizer != FinalizerDesiredState && (r.Finalizer != FinalizerDeviceData || r.Kind != KindDevice) {
		return fmt.Errorf("%w: %.80q is no finalizer of a %s", ErrInvalid, r.Finalizer, r.Kind)
	}
	return validateUID("finalizer release", r.UID)
}

// Validate checks the sender, the resource, type and reason.
func (r EventRecordRequest) Validate() error {
	if err := r.check(); err != nil {
		return err
	}
	if r.Type != "Normal" && r.Type != "Warning" {
		return fmt.Errorf("%w: event type %.40q is not Normal or Warning", ErrInvalid, r.Type)
	}
	if r.Reason == "" || len(r.Reason) > MaxUIDSize {
		return fmt.Errorf("%w: event reason has %d bytes, 1 to %d are allowed", ErrInvalid, len(r.Reason), MaxUIDSize)
	}
	return validateResource(r.Kind, r.Name)
}

// Validate checks the page and the device.
func (r DeviceVerdictsRequest) Validate() error {
	if err := r.Page.Validate(); err != nil {
		return err
	}
	return r.Device.Validate()
}

// Validate checks the name.
func (r DeploymentExplainRequest) Validate() error { return r.Deployment.Validate() }

// Validate checks the name: a Deployment's and a Device's have the same form.
func (r GetRequest) Validate() error { return validateName("name", r.Name) }

// Validate checks the page and the filters.
func (r DevicesListRequest) Validate() error {
	if err := r.Page.Validate(); err != nil {
		return err
	}
	switch r.State {
	case "", DeviceFresh, DeviceStale, DeviceNeverSeen:
	default:
		return fmt.Errorf("%w: state %.40q is not Fresh, Stale or NeverSeen", ErrInvalid, r.State)
	}
	switch r.Class {
	case "", ClassRunning, ClassFailed, ClassPending, ClassStale:
	default:
		return fmt.Errorf("%w: class %.40q is not running, failed, pending or stale", ErrInvalid, r.Class)
	}
	return validateOptional(r.Deployment)
}

// Validate checks both names.
func (r DeviceExplainRequest) Validate() error {
	if err := r.Device.Validate(); err != nil {
		return err
	}
	return r.Deployment.Validate()
}

// Validate checks the name. Whether a candidate can be applied is part of the answer.
func (r PlanShowRequest) Validate() error { return validateOptional(r.Deployment) }

// Validate checks the page and the name.
func (r TargetsListRequest) Validate() error {
	if err := r.Page.Validate(); err != nil {
		return err
	}
	return r.Deployment.Validate()
}

// Validate checks that an id is given.
func (r HoldApproveRequest) Validate() error {
	if r.ID == "" {
		return fmt.Errorf("%w: approval without the id of a hold: take it from the health of the reconciler", ErrInvalid)
	}
	return nil
}

// Validate checks the page and the digest.
func (r SnapshotRequest) Validate() error {
	if r.Digest != "" && !isHash(r.Digest) {
		return fmt.Errorf("%w: digest %.80q is not 64 lower-case hex digits", ErrInvalid, r.Digest)
	}
	return validateOptional(r.After)
}

func (s Sender) check() error {
	if s.Service != ServiceReconciler && s.Service != ServiceAggregator {
		return fmt.Errorf("%w: sender %.40q is not %s or %s", ErrInvalid, s.Service, ServiceReconciler, ServiceAggregator)
	}
	if s.Epoch == 0 {
		return fmt.Errorf("%w: %s sent no epoch", ErrInvalid, s.Service)
	}
	return nil
}

func validateOptional(d DeploymentName) error {
	if d == "" {
		return nil
	}
	return d.Validate()
}

func validateResource(kind, name string) error {
	if kind != KindDeployment && kind != KindDevice {
		return fmt.Errorf("%w: kind %.40q is not %s or %s", ErrInvalid, kind, KindDeployment, KindDevice)
	}
	return validateName("name", name)
}
