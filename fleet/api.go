package fleet

import "time"

// Apply results: what a write to the apiserver came to.
const (
	ResultPatched   = "patched"
	ResultUnchanged = "unchanged" // the bytes were equal: nothing was written
	ResultGone      = "gone"      // the resource no longer exists: nothing left to do
)

// Sender identifies who asks the patcher to act: the holder of the bucket that the service leases.
// The patcher accepts iff Epoch is the revision of "_epoch" in that bucket.
type Sender struct {
	Service string `json:"service"` // ServiceReconciler (desired-state) or ServiceAggregator (fleet-leases)
	Epoch   uint64 `json:"epoch"`
}

// LeaseBucket returns the bucket whose epoch a service acts under, or "".
func LeaseBucket(service string) string {
	switch service {
	case ServiceReconciler:
		return BucketDesiredState
	case ServiceAggregator:
		return BucketLeases
	case ServicePatcher:
		return BucketResources
	}
	return ""
}

// StatusApplyRequest replaces the status of a Deployment.
type StatusApplyRequest struct {
	Sender
	Deployment DeploymentName   `json:"deployment"`
	UID        string           `json:"uid"`
	Generation int64            `json:"generation"` // of the mirror entry that the status was computed from
	Seq        uint64           `json:"seq"`        // rises with each request of an epoch for this uid
	Status     DeploymentStatus `json:"status"`
}

// DeviceApplyRequest creates a Device or brings its reported labels and status up to date. An empty
// UID means: create it if there is none.
type DeviceApplyRequest struct {
	Sender
	Device DeviceID          `json:"device"`
	UID    string            `json:"uid,omitempty"`
	Labels map[string]string `json:"labels"` // all labels that the device reports; others' labels are never overwritten
	Status DeviceStatus      `json:"status"`
}

// FinalizerReleaseRequest takes one finalizer off a resource that is being deleted.
type FinalizerReleaseRequest struct {
	Sender
	Kind      string `json:"kind"` // KindDeployment or KindDevice
	Name      string `json:"name"`
	UID       string `json:"uid"`
	Finalizer string `json:"finalizer"`
}

// ApplyResponse answers the three requests above.
type ApplyResponse struct {
	Result string `json:"result"` // ResultPatched, ResultUnchanged or ResultGone
}

// EventRecordRequest records a Kubernetes Event about a resource.
type EventRecordRequest struct {
	Sender
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	UID     string `json:"uid"`
	Type    string `json:"type"` // "Normal" or "Warning"
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// EventRecordResponse is empty.
type EventRecordResponse struct{}

// Page asks for part of a list. Items are sorted by name.
type Page struct {
	Limit int    `json:"limit,omitempty"` // 0 means DefaultLimit; at most MaxLimit
	After string `json:"after,omitempty"` // names after this one
}

// Sizes of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Freshness says how far an answer can be trusted.
type Freshness struct {
	AsOf   time.Time `json:"asOf"`             // when the answer was computed
	Synced bool      `json:"synced"`           // all sources were in view
	Reason string    `json:"reason,omitempty"` // why not
}

// DeploymentsListRequest lists Deployments.
type DeploymentsListRequest struct {
	Page
}

// DeploymentsListResponse is a page of Deployments.
type DeploymentsListResponse struct {
	Freshness
	Items []DeploymentView `json:"items"`
	Next  string           `json:"next,omitempty"` // ask again with After = Next
}

// DeploymentView is a Deployment as the projection has it.
type DeploymentView struct {
	Name           DeploymentName   `json:"name"`
	UID            string           `json:"uid"`
	Generation     int64            `json:"generation"`
	Deleting       bool             `json:"deleting,omitempty"`
	TargetSelector Selector         `json:"targetSelector"`
	ScoreType      string           `json:"scoreType"`
	Status         DeploymentStatus `json:"status"`
}

// GetRequest names one Deployment or Device.
type GetRequest struct {
	Name string `json:"name"`
}

// DeploymentsGetResponse is one Deployment with its pairs that need a look: failed, stale and pending
// first, at most MaxLimit.
type DeploymentsGetResponse struct {
	Freshness
	Deployment DeploymentView `json:"deployment"`
	Pairs      []PairView     `json:"pairs"`
	Truncated  bool           `json:"truncated,omitempty"`
}

// DevicesListRequest lists devices, filtered.
type DevicesListRequest struct {
	Page
	State      DeviceState    `json:"state,omitempty"`
	Selector   *Selector      `json:"selector,omitempty"`
	Deployment DeploymentName `json:"deployment,omitempty"` // only devices that it is desired on
	Registered *bool          `json:"registered,omitempty"` // only devices with a resource, or only those without
}

// DevicesListResponse is a page of devices.
type DevicesListResponse struct {
	Freshness
	Items []DeviceView `json:"items"`
	Next  string       `json:"next,omitempty"`
	Total int          `json:"total"` // devices that pass the filter
}

// DeviceView is a device as the projection has it.
type DeviceView struct {
	Name        DeviceID          `json:"name"`
	UID         string            `json:"uid,omitempty"`
	Registered  bool              `json:"registered"` // it has a Device resource
	State       DeviceState       `json:"state"`
	LastSeen    *time.Time        `json:"lastSeen,omitempty"` // the server's stamp
	Labels      map[string]string `json:"labels,omitempty"`
	Inventory   map[string]string `json:"inventory,omitempty"`
	Agent       string            `json:"agent,omitempty"`
	Deleting    bool              `json:"deleting,omitempty"`
	Quarantined bool              `json:"quarantined,omitempty"`
	Deployments int               `json:"deployments"` // desired on it
}

// DevicesGetResponse is one device with its pairs.
type DevicesGetResponse struct {
	Freshness
	Device DeviceView `json:"device"`
	Pairs  []PairView `json:"pairs"`
}

// Class is what a pair counts as.
type Class string

// The classes. Their counts add up to the matched devices.
const (
	ClassRunning Class = "running"
	ClassFailed  Class = "failed"
	ClassPending Class = "pending"
	ClassStale   Class = "stale"
)

// PairView is one pair as the projection has it.
type PairView struct {
	Device       DeviceID       `json:"device"`
	Deployment   DeploymentName `json:"deployment"`
	Class        Class          `json:"class"`
	LastKnown    Class          `json:"lastKnown,omitempty"` // of a stale pair
	DesiredHash  string         `json:"desiredHash"`
	ObservedHash string         `json:"observedHash,omitempty"`
	Phase        Phase          `json:"phase,omitempty"`
	LastEventAt  string         `json:"lastEventAt,omitempty"`
	LastError    string         `json:"lastError,omitempty"`
}

// SelectorMatchRequest asks which devices a selector would hit.
type SelectorMatchRequest struct {
	Page
	Selector *Selector `json:"selector"` // required: that it matches every device is to be said, by {}
}

// SelectorMatchResponse names the devices.
type SelectorMatchResponse struct {
	Freshness
	Devices []DeviceID `json:"devices"`
	Next    string     `json:"next,omitempty"`
	Total   int        `json:"total"`
}

// DeviceExplainRequest asks why a device runs or does not run a Deployment.
type DeviceExplainRequest struct {
	Device     DeviceID       `json:"device"`
	Deployment DeploymentName `json:"deployment"`
}

// DeviceExplainResponse answers with a verdict, what led to it, and what to do next.
type DeviceExplainResponse struct {
	Freshness
	Verdict string    `json:"verdict"` // one CamelCase word: "Running", "NoMatch", "Stale" …
	Message string    `json:"message"`
	Facts   []string  `json:"facts"`
	Next    string    `json:"next,omitempty"`
	Pair    *PairView `json:"pair,omitempty"`
}

// PlanShowRequest asks what the reconciler would write. With Candidate set: if the Deployment were so.
type PlanShowRequest struct {
	Deployment DeploymentName `json:"deployment,omitempty"` // only this one; empty means all
	Candidate  *Candidate     `json:"candidate,omitempty"`
}

// Candidate is a Deployment that is not applied yet.
type Candidate struct {
	TargetSelector Selector `json:"targetSelector"`
	Score          Score    `json:"score"`
}

// PlanShowResponse is a plan: the first MaxLimit keys of each kind and the whole counts.
type PlanShowResponse struct {
	Freshness
	PutCount    int           `json:"putCount"`
	DeleteCount int           `json:"deleteCount"`
	HeldCount   int           `json:"heldCount"`
	WaitCount   int           `json:"waitCount"` // doubtful deletes that wait for the mirror to be quiet
	Puts        []string      `json:"puts"`
	Deletes     []PlanDelete  `json:"deletes"`
	Gained      []DeviceID    `json:"gained,omitempty"` // devices that would get the Deployment
	Lost        []DeviceID    `json:"lost,omitempty"`
	Invalid     []PlanInvalid `json:"invalid,omitempty"`
	Hold        *Hold         `json:"hold,omitempty"`
}

// PlanDelete is one delete of a plan.
type PlanDelete struct {
	Key   string `json:"key"`
	Cause Cause  `json:"cause"`
	Held  bool   `json:"held,omitempty"`
	Wait  bool   `json:"wait,omitempty"`
}

// PlanInvalid is a Deployment that cannot be applied.
type PlanInvalid struct {
	Deployment DeploymentName `json:"deployment"`
	Message    string         `json:"message"`
}

// TargetsListRequest lists the devices of a Deployment's keys.
type TargetsListRequest struct {
	Page
	Deployment DeploymentName `json:"deployment"`
}

// TargetsListResponse names them.
type TargetsListResponse struct {
	Freshness
	Devices []DeviceID `json:"devices"`
	Next    string     `json:"next,omitempty"`
	Total   int        `json:"total"`
}

// HoldApproveRequest approves the deletes of a hold.
type HoldApproveRequest struct {
	ID string `json:"id"`
}

// HoldApproveResponse is the approved hold.
type HoldApproveResponse struct {
	Hold Hold `json:"hold"`
}
