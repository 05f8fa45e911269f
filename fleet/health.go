package fleet

import "time"

// State is the state of a service instance.
//
//	starting → replaying (n of m) → converging → ready
//	      degraded (a dependency is lost) and held (the brake) beside them
type State string

// The states.
const (
	StateStarting   State = "starting"   // not connected yet
	StateReplaying  State = "replaying"  // reading its sources
	StateConverging State = "converging" // sources in view, not everything derived is written yet
	StateReady      State = "ready"      // in view and at rest
	StateDegraded   State = "degraded"   // a dependency is lost; works on with what it has
	StateHeld       State = "held"       // the brake keeps deletes back
)

// Health is what one instance of a service says of itself.
type Health struct {
	Service   string       `json:"service"`
	Instance  string       `json:"instance"`
	Version   string       `json:"version"`
	Fleet     string       `json:"fleet"`
	State     State        `json:"state"`
	Ready     bool         `json:"ready"` // its view is synced: it can answer and could act
	Reasons   []Reason     `json:"reasons"`
	Lease     *LeaseHealth `json:"lease,omitempty"`
	Sources   []Source     `json:"sources"`
	StartedAt time.Time    `json:"startedAt"`
	AsOf      time.Time    `json:"asOf"`
}

// Reason is one thing that is wrong, and what to do about it.
type Reason struct {
	Reason  string `json:"reason"` // one CamelCase word
	Message string `json:"message"`
}

// ReasonSetAside is the reason of a service that leaves out entries which are not of the contract.
const ReasonSetAside = "EntriesSetAside"

// LeaseHealth is the lease as this instance sees it.
type LeaseHealth struct {
	Bucket string `json:"bucket"`
	Held   bool   `json:"held"`   // by this instance
	Holder string `json:"holder"` // the instance that holds it, "" when nobody is known to
	Epoch  uint64 `json:"epoch"`  // own epoch while held, else 0
}

// Source is one thing that an instance reads: a bucket or a kind of resource.
type Source struct {
	Name    string   `json:"name"` // "device-state", "deployments"
	Synced  bool     `json:"synced"`
	Pass    uint64   `json:"pass"`    // how often it was read from the beginning
	Done    uint64   `json:"done"`    // progress of the pass: messages read …
	Total   uint64   `json:"total"`   // … of about so many
	Entries int      `json:"entries"` // live entries in view
	Seq     uint64   `json:"seq"`     // last sequence in view
	Poison  int      `json:"poison"`  // entries set aside
	Set     []Poison `json:"setAside,omitempty"`
	Reason  string   `json:"reason,omitempty"` // why it is not synced
	// Problem is one CamelCase word for why it cannot be read at present: "BucketMissing". It is empty
	// while a pass is on.
	Problem string `json:"problem,omitempty"`
}

// Poison is an entry that was set aside: its key or value is not of the contract.
type Poison struct {
	Bucket   string `json:"bucket"`
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
	Error    string `json:"error"`
	Kept     bool   `json:"kept"` // an earlier good value still counts
}
