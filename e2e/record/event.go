package record

import (
	"encoding/json"
	"time"

	"harmony.dev/fleet"
)

// Recording is what was recorded, in the order in which the recorder learned of it. Operations on one
// stream are in stream order, writes to one resource in the apiserver's; between sources the order is
// that of At, give or take what delivery takes.
type Recording []Event

// Event is one thing that happened. Exactly one of the pointers is set.
type Event struct {
	At      time.Time `json:"at"` // when the recorder learned of it
	Op      *Op       `json:"op,omitempty"`
	Stream  *Stream   `json:"stream,omitempty"`
	Write   *Write    `json:"write,omitempty"`
	Process *Process  `json:"process,omitempty"`
	Health  *Health   `json:"health,omitempty"`
	View    *View     `json:"view,omitempty"`
	Fault   *Fault    `json:"fault,omitempty"`
	Ack     *Ack      `json:"ack,omitempty"`
	Seen    *Seen     `json:"seen,omitempty"`
	Rest    *Rest     `json:"rest,omitempty"`
	Steady  *Steady   `json:"steady,omitempty"`
}

// OpKind says what a message of a bucket's stream does to its key.
type OpKind string

// The kinds of operations.
const (
	OpPut    OpKind = "put"
	OpDelete OpKind = "delete" // by a writer: a delete or purge marker
	OpExpire OpKind = "expire" // by the server: a marker for a key whose time was up
)

// Op is one message of a bucket's stream.
type Op struct {
	Bucket      string      `json:"bucket"`
	Incarnation int         `json:"incarnation"` // of the stream, see [Stream]
	Key         string      `json:"key"`
	Kind        OpKind      `json:"kind"`
	Revision    uint64      `json:"revision"`
	Missed      uint64      `json:"missed,omitempty"` // sequences before this one that were not seen
	Epoch       uint64      `json:"epoch,omitempty"`  // 0: none, so a foreign write in a service's bucket
	Cause       fleet.Cause `json:"cause,omitempty"`
	Value       string      `json:"value,omitempty"`
	Stamp       time.Time   `json:"stamp"` // the server's
}

// StreamKind says what became of a bucket's stream.
type StreamKind string

// The kinds of stream events.
const (
	StreamFound      StreamKind = "found"      // an incarnation begins: created, or rolled back to an older store
	StreamGone       StreamKind = "gone"       // deleted
	StreamEmptied    StreamKind = "emptied"    // purged: no message left, the sequence goes on
	StreamConsumers  StreamKind = "consumers"  // its number of consumers changed
	StreamUnreadable StreamKind = "unreadable" // no answer: the server is away
)

// Stream is what became of a bucket's stream. Incarnations count from 1; a new one begins when the stream
// was created again or its sequence went back.
type Stream struct {
	Bucket      string     `json:"bucket"`
	Incarnation int        `json:"incarnation"`
	Kind        StreamKind `json:"kind"`
	Consumers   int        `json:"consumers,omitempty"` // without the recorder's own
}

// WriteKind says what a write did to a resource.
type WriteKind string

// The kinds of writes.
const (
	WriteListed   WriteKind = "listed"   // not a write: as the resource was when the recorder (re)started to watch
	WriteAdded    WriteKind = "added"    //
	WriteModified WriteKind = "modified" //
	WriteDeleted  WriteKind = "deleted"  // gone
)

// Write is one write to a Deployment or Device, as the apiserver's watch delivers it.
type Write struct {
	Kind            WriteKind         `json:"kind"`
	Resource        string            `json:"resource"` // fleet.KindDeployment or fleet.KindDevice
	Name            string            `json:"name"`
	UID             string            `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Generation      int64             `json:"generation"`
	Deleting        bool              `json:"deleting,omitempty"`
	Finalizers      []string          `json:"finalizers,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Spec            json.RawMessage   `json:"spec,omitempty"`
	Status          json.RawMessage   `json:"status,omitempty"`
}

// ProcessKind says what happened to a process.
type ProcessKind string

// The kinds of process events.
const (
	ProcessStarted   ProcessKind = "started"
	ProcessStopping  ProcessKind = "stopping"  // SIGTERM sent
	ProcessKilled    ProcessKind = "killed"    // SIGKILL sent
	ProcessPaused    ProcessKind = "paused"    // SIGSTOP sent
	ProcessContinued ProcessKind = "continued" // SIGCONT sent
	ProcessExited    ProcessKind = "exited"
)

// Process is what happened to a process of the stack.
type Process struct {
	Kind     ProcessKind `json:"kind"`
	Service  string      `json:"service"`            // the name of its binary
	Instance string      `json:"instance"`           // its id in the lab, and in leases and health
	Args     []string    `json:"args,omitempty"`     // of one that started: its flags, of which the last of a name counts
	Expected bool        `json:"expected,omitempty"` // the scenario made it exit, or says that it must
	Exit     string      `json:"exit,omitempty"`     // "exit status 1", "signal: killed"; "" is success
}

// Health is what an instance said of itself, recorded when it changed.
type Health struct {
	Service  string         `json:"service"`
	Instance string         `json:"instance"`
	State    fleet.State    `json:"state"`
	Ready    bool           `json:"ready"`
	Reasons  []fleet.Reason `json:"reasons,omitempty"`
	Held     bool           `json:"held,omitempty"`   // it holds its lease
	Poison   int            `json:"poison,omitempty"` // entries it has set aside
	Pass     uint64         `json:"pass,omitempty"`   // how often it began to read a source, of all of them
}

// View is what an instance said that it has in view of a bucket, recorded when it changed. All that it says at one time
// is recorded at once: what it is not recorded to have said then of another bucket is what it had said before.
type View struct {
	Service  string `json:"service"`
	Instance string `json:"instance"`
	Bucket   string `json:"bucket"`
	Synced   bool   `json:"synced"`   // it is in step with the bucket
	Sequence uint64 `json:"sequence"` // of the last message of the stream that is in view
	Entries  int    `json:"entries"`  // keys that have a value and are no book-keeping
}

// Fault is a fault that was injected or healed.
type Fault struct {
	Name   string   `json:"name"`
	Stack  string   `json:"stack"`            // which kind of stack: "processes", "compose"
	Target string   `json:"target,omitempty"` // what it was done to: an instance with its pid, a bucket
	Healed bool     `json:"healed,omitempty"`
	Loses  []string `json:"loses,omitempty"` // the buckets whose content changes without an operation that shows it

	Containers map[string]string `json:"containers,omitempty"` // on a stack of containers: the ids of all that there are, by instance
}

// Ack is a write by the scenario itself that the server acknowledged.
type Ack struct {
	Bucket   string `json:"bucket"`
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
	Value    string `json:"value"`
}

// Seen is something that a scenario saw on the wire and that leaves no trace elsewhere: the server's refusal
// of a fenced write.
type Seen struct {
	Path   string `json:"path"`   // as invariant.Sometimes names it
	Detail string `json:"detail"` // what was refused to whom
}

// Rest is the whole stack at a moment when nothing changed any more, read directly.
type Rest struct {
	Resources []Write                     `json:"resources"` // of kind listed
	Keys      map[string]map[string]Entry `json:"keys"`      // by bucket: live keys, without book-keeping
	Ready     bool                        `json:"ready"`     // every instance that runs is ready and at rest: what is written is what is wanted
}

// Entry is the value of a key at rest.
type Entry struct {
	Revision uint64    `json:"revision"`
	Value    string    `json:"value"`
	Stamp    time.Time `json:"stamp"`
}

// Steady bounds a time in which nobody changed any input: nothing may be written in it but keys that begin
// with "_" and heartbeats. Begin and end come in pairs.
type Steady struct {
	End bool `json:"end,omitempty"`
}
