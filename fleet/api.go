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

// Join returns how far two answers can be trusted together: as of the older one, and whole when both are.
func (f Freshness) Join(o Freshness) Freshness {
	if o.AsOf.Before(f.AsOf) {
		f.AsOf = o.AsOf
	}
	if f.Synced && !o.Synced {
		f.Synced, f.Reason = false, o.Reason
	}
	return f
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
// first, at most MaxLimit; and what changed last, the newest first, at most MaxChanges.
type DeploymentsGetResponse struct {
	Freshness
	Deployment DeploymentView `json:"deployment"`
	Pairs      []PairView     `json:"pairs"`
	Truncated  bool           `json:"truncated,omitempty"`
	Changes    []Change       `json:"changes,omitempty"`
}

// MaxChanges is how many of its last changes are told of a Deployment.
const MaxChanges = 20

// Change is the last thing that happened under a key of a Deployment that is there. At is the server's stamp.
// What was there before under the same key, and keys that were deleted, leave no trace.
type Change struct {
	At     time.Time  `json:"at"`
	Kind   ChangeKind `json:"kind"`
	Device DeviceID   `json:"device,omitempty"`
	Phase  Phase      `json:"phase,omitempty"` // of a report that is not malformed
	// Generation is what was applied, all of it.
	Generation int64 `json:"generation,omitempty"`
}

// ChangeKind is what changed.
type ChangeKind string

// The kinds of changes.
const (
	ChangeDesired  ChangeKind = "desired"  // its desired value was written
	ChangeReported ChangeKind = "reported" // the device reported
	ChangeApplied  ChangeKind = "applied"  // a generation was written whole
)

// DevicesListRequest lists devices, filtered.
type DevicesListRequest struct {
	Page
	State      DeviceState    `json:"state,omitempty"`
	Class      Class          `json:"class,omitempty"` // only devices whose gravest class is this
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
	// Class is the gravest that one of them counts as: failed, then stale, pending and running; empty when there is none.
	Class Class `json:"class,omitempty"`
}

// DevicesSummaryRequest asks for the devices in short, a page at a time: those with names after After.
type DevicesSummaryRequest struct {
	After string `json:"after,omitempty"`
}

// DevicesSummaryResponse is a page of devices, as many as an answer can carry.
type DevicesSummaryResponse struct {
	Freshness
	Items []DeviceSummary `json:"items"`
	Next  string          `json:"next,omitempty"` // ask again with After = Next
	Total int             `json:"total"`
}

// DeviceSummary is a device in short. Class is the gravest that a Deployment on it counts as: failed, then
// stale, pending and running; empty when none is desired on it.
type DeviceSummary struct {
	Name  DeviceID    `json:"name"`
	State DeviceState `json:"state"`
	Class Class       `json:"class,omitempty"`
}

// DevicesGetResponse is one device with its pairs. HeartbeatAt and InfoAt are the server's stamps on its last
// heartbeat and on what it last said of itself, nil when it has sent none.
type DevicesGetResponse struct {
	Freshness
	Device            DeviceView `json:"device"`
	HeartbeatAt       *time.Time `json:"heartbeatAt,omitempty"`
	InfoAt            *time.Time `json:"infoAt,omitempty"`
	StaleAfterSeconds float64    `json:"staleAfterSeconds,omitempty"` // after which silence it is stale
	Pairs             []PairView `json:"pairs"`
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
	Explanation
}

// Explanation says why a device runs or does not run a Deployment.
type Explanation struct {
	Verdict string    `json:"verdict"` // one CamelCase word: "Running", "NoMatch", "Stale" …
	Message string    `json:"message"`
	Facts   []string  `json:"facts"`
	Next    string    `json:"next,omitempty"` // what to do
	Pair    *PairView `json:"pair,omitempty"` // when it is desired or reported on
}

// DeviceVerdictsRequest asks why a device runs or does not run each Deployment.
type DeviceVerdictsRequest struct {
	Page
	Device DeviceID `json:"device"`
}

// DeviceVerdictsResponse is a page of explanations, sorted by Deployment. A device that nobody knows has them,
// too.
type DeviceVerdictsResponse struct {
	Freshness
	Items []DeviceVerdict `json:"items"`
	Next  string          `json:"next,omitempty"`
	Total int             `json:"total"`
}

// DeviceVerdict is the explanation of one Deployment on the device that was asked about.
type DeviceVerdict struct {
	Deployment DeploymentName `json:"deployment"`
	Explanation
}

// DeploymentExplainRequest asks why a Deployment is what it is.
type DeploymentExplainRequest struct {
	Deployment DeploymentName `json:"deployment"`
}

// DeploymentExplainResponse says how a Deployment stands on all devices: they are grouped by verdict and
// reason, the gravest group first, those that it does not select last.
type DeploymentExplainResponse struct {
	Freshness
	Deployment DeploymentView `json:"deployment"`
	Groups     []VerdictGroup `json:"groups"`         // at most MaxGroups of a verdict; the rest of them in one without a reason
	Hold       *Hold          `json:"hold,omitempty"` // of the brake
}

// Bounds of the answer about a Deployment.
const (
	MaxGroups       = 20 // of one verdict
	MaxGroupDevices = 5  // named of a group
)

// VerdictGroup is the devices that a Deployment has the same verdict on, for the same reason.
type VerdictGroup struct {
	Verdict string     `json:"verdict"`
	Reason  string     `json:"reason,omitempty"` // what they have in common: "label region is \"south\", wanted \"north\""
	Next    string     `json:"next,omitempty"`   // what to do
	Count   int        `json:"count"`
	Devices []DeviceID `json:"devices"` // the first of them, sorted, at most MaxGroupDevices
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

// PlanShowResponse is a plan: of each list the first MaxLimit, of Invalid the first MaxInvalid, and the whole counts.
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

	GainedCount  int            `json:"gainedCount,omitempty"`
	LostCount    int            `json:"lostCount,omitempty"`
	InvalidCount int            `json:"invalidCount,omitempty"`
	KeyCount     int            `json:"keyCount,omitempty"` // that are there now: of the Deployment, or of all
	Candidate    CandidateState `json:"candidate,omitempty"`
}

// MaxInvalid is how many invalid Deployments a plan names.
const MaxInvalid = 100

// CandidateState is what a candidate is to the Deployment of its name.
type CandidateState string

// The states of a candidate.
const (
	CandidateNew       CandidateState = "new"       // there is none
	CandidateChanged   CandidateState = "changed"   // selector or score differ
	CandidateUnchanged CandidateState = "unchanged" // neither does: the plan is what is to be written anyway
	CandidateDeleting  CandidateState = "deleting"  // it is being deleted, whatever is applied
)

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
