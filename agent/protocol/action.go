package protocol

import "harmony.dev/fleet"

// Action is something that the shell is to do. Actions are carried out in order; none of them waits.
type Action interface{ action() }

type (
	// Ask requests a page of the snapshot. It is answered by exactly one [PageGot] or [AskFailed],
	// unless the connection goes: a time-out is an answer.
	Ask struct {
		ID      uint64
		Request fleet.SnapshotRequest
	}
	// Publish writes a value under a key of an agents' bucket. It is answered by exactly one
	// [Published], unless the connection goes.
	Publish struct {
		ID     uint64
		Bucket string
		Key    string
		Value  []byte
	}
	// Apply makes the runtime run a value of a deployment in place of the one before it. At most one
	// Apply or Remove of a deployment is under way. It is answered by one [Applied].
	Apply struct {
		Deployment fleet.DeploymentName
		Hash       string
		Desired    fleet.Desired
	}
	// Remove makes the runtime end a deployment. It is answered by one [Removed].
	Remove struct{ Deployment fleet.DeploymentName }
	// Interrupt cancels the Apply under way of a deployment: its value is no longer wanted. The answer
	// to the Apply still comes.
	Interrupt struct{ Deployment fleet.DeploymentName }
	// Save asks to store [Machine.State].
	Save struct{}
	// Note is something that people may want to know.
	Note struct {
		Text       NoteText
		Deployment fleet.DeploymentName // may be empty
		Err        string               // may be empty
	}
)

// NoteText is what a [Note] says.
type NoteText string

// The notes.
const (
	NoteForeign     NoteText = "desired state was written by somebody else, asking again"
	NoteGap         NoteText = "desired state may have been missed, asking again"
	NoteNotOwn      NoteText = "live message is not about an own key, ignored"
	NoteExpired     NoteText = "desired state expired in the bucket, kept"
	NoteMalformed   NoteText = "desired state is malformed, the one before it stays"
	NoteIncomplete  NoteText = "snapshot is incomplete, nothing removed"
	NoteBadSnapshot NoteText = "snapshot is malformed"
	NoteOverrun     NoteText = "snapshot came behind too many changes, asking again"
	NoteAskFailed   NoteText = "snapshot was not answered"
	NoteApplyFailed NoteText = "workload was not applied"
	NoteNotRevived  NoteText = "workload that ran before the restart was not applied"
	NoteNotRemoved  NoteText = "workload was not removed"
)

func (Ask) action()       {}
func (Publish) action()   {}
func (Apply) action()     {}
func (Remove) action()    {}
func (Interrupt) action() {}
func (Save) action()      {}
func (Note) action()      {}
