package fleet

import (
	"fmt"
	"time"
)

// The Kubernetes names of the resources.
const (
	Group          = "fleet.harmony.dev"
	Version        = "v1alpha1"
	KindDeployment = "Deployment"
	KindDevice     = "Device"
	// ResourceDeployments and ResourceDevices are the plural names in API paths.
	ResourceDeployments = "deployments"
	ResourceDevices     = "devices"

	// FinalizerDesiredState keeps a Deployment or Device until its last desired-state key is gone.
	FinalizerDesiredState = Group + "/desired-state"
	// FinalizerDeviceData keeps a Device until its device-* keys are gone.
	FinalizerDeviceData = Group + "/device-data"
)

// DeploymentStatus is the status of a Deployment. Its size does not depend on the number of devices.
type DeploymentStatus struct {
	ObservedGeneration int64       `json:"observedGeneration"`
	Aggregate          Aggregate   `json:"aggregate"`
	Conditions         []Condition `json:"conditions"` // Ready, Reconciling, Stalled, in this order
}

// Aggregate counts the pairs of a Deployment. MatchedDeviceCount is always Running + Failed + Pending +
// Stale; [Aggregate.Validate] checks it.
type Aggregate struct {
	MatchedDeviceCount int            `json:"matchedDeviceCount"`
	Running            int            `json:"running"`
	Failed             int            `json:"failed"`
	Pending            int            `json:"pending"`
	Stale              int            `json:"stale"`
	StaleLastKnown     StaleLastKnown `json:"staleLastKnown"`
	LastError          *LastError     `json:"lastError,omitempty"`
}

// Validate checks that no count is negative and that they add up: the matched devices are the running,
// failed, pending and stale ones, and the stale ones are what they last were.
func (a Aggregate) Validate() error {
	last := a.StaleLastKnown
	if min(a.Running, a.Failed, a.Pending, a.Stale, last.Running, last.Failed, last.Pending) < 0 {
		return fmt.Errorf("%w: aggregate with a negative count", ErrInvalid)
	}
	if sum := a.Running + a.Failed + a.Pending + a.Stale; sum != a.MatchedDeviceCount {
		return fmt.Errorf("%w: aggregate matches %d devices but counts %d", ErrInvalid, a.MatchedDeviceCount, sum)
	}
	if sum := last.Running + last.Failed + last.Pending; sum != a.Stale {
		return fmt.Errorf("%w: aggregate has %d stale devices but says of %d what they last were", ErrInvalid, a.Stale, sum)
	}
	return nil
}

// StaleLastKnown counts the stale pairs by what they were when they were last heard of.
type StaleLastKnown struct {
	Running int `json:"running"`
	Failed  int `json:"failed"`
	Pending int `json:"pending"`
}

// LastError is the error of the pair that failed last: the greatest (At, Device) among pairs failed now.
type LastError struct {
	Device  DeviceID  `json:"device"`
	Message string    `json:"message"` // at most MaxErrorSize bytes, see ClipError
	At      time.Time `json:"at"`      // as the device reported it, see Report.EventTime
}

// ConditionStatus is True, False or Unknown, as Kubernetes has it.
type ConditionStatus string

// The condition statuses.
const (
	ConditionTrue    ConditionStatus = "True"
	ConditionFalse   ConditionStatus = "False"
	ConditionUnknown ConditionStatus = "Unknown"
)

// The condition types of a Deployment, as kstatus reads them.
const (
	ConditionReady       = "Ready"
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
)

// The reasons of a Deployment's conditions.
const (
	ReasonAllRunning        = "AllRunning"        // every matched device runs it
	ReasonNoDevicesMatch    = "NoDevicesMatch"    // the selector matches no device
	ReasonApplying          = "Applying"          // the generation is not in desired-state yet
	ReasonPending           = "Pending"           // devices have not reported success yet
	ReasonDevicesFailed     = "DevicesFailed"     // at least one device failed, none is pending
	ReasonStaleNotRunning   = "StaleNotRunning"   // a silent device was last heard of in another state
	ReasonInvalid           = "Invalid"           // selector or score cannot be applied
	ReasonHeld              = "Held"              // the brake holds deletes back
	ReasonHeartbeatsSilent  = "HeartbeatsSilent"  // the whole fleet fell silent at once
	ReasonNothingToDo       = "NothingToDo"       // not reconciling
	ReasonNotStalled        = "NotStalled"        // not stalled
	ReasonDeploymentDeleted = "DeploymentDeleted" // being deleted
)

// Condition is a condition as Kubernetes has it (KEP-1623). LastTransitionTime is set and kept by the
// patcher alone; every other writer leaves it nil.
type Condition struct {
	Type               string          `json:"type"`
	Status             ConditionStatus `json:"status"`
	Reason             string          `json:"reason"`
	Message            string          `json:"message"`
	ObservedGeneration int64           `json:"observedGeneration"`
	LastTransitionTime *time.Time      `json:"lastTransitionTime,omitempty"`
}

// DeviceState is what the aggregator thinks of a device.
type DeviceState string

// The states. A device changes between them on transitions, never with each heartbeat.
const (
	DeviceFresh     DeviceState = "Fresh"     // heard of within the threshold
	DeviceStale     DeviceState = "Stale"     // silent for longer than the threshold
	DeviceNeverSeen DeviceState = "NeverSeen" // a Device resource whose agent has never spoken
)

// DeviceStatus is the status of a Device.
type DeviceStatus struct {
	State DeviceState `json:"state,omitempty"`
	// LastSeen is the server's stamp on the last message before the device fell silent; nil unless stale.
	LastSeen     *time.Time        `json:"lastSeen,omitempty"`
	Inventory    map[string]string `json:"inventory,omitempty"`
	AgentVersion string            `json:"agentVersion,omitempty"`
}
