package protocol

import "harmony.dev/fleet"

// Event is something that happened to an agent.
type Event interface{ event() }

type (
	// Started is the first event: stored workloads start before there is any connection.
	Started struct{}
	// Connected says that a connection stands and all subscriptions are on it. Each new connection
	// is one Connected, also when no Disconnected came before it.
	Connected struct{}
	// Disconnected says that the connection is gone: live messages are being lost.
	Disconnected struct{}
	// Lost says that live messages may have been lost on a connection that stands.
	Lost struct{}
	// ResyncAsked is a message on a resync subject.
	ResyncAsked struct{}
	// Tick says only that time has passed.
	Tick struct{}
	// PageGot answers the [Ask] of the same ID with a page of a snapshot.
	PageGot struct {
		ID   uint64
		Page fleet.Snapshot
	}
	// AskFailed answers the [Ask] of the same ID: there is no page. Code is zero when nobody answered.
	AskFailed struct {
		ID   uint64
		Code fleet.Code
		Err  string
	}
	// Published answers the [Publish] of the same ID.
	Published struct {
		ID      uint64
		Outcome Outcome
	}
	// Applied answers [Apply]: the runtime runs the value, or (Err not empty) the one before it.
	Applied struct {
		Deployment fleet.DeploymentName
		Err        string
	}
	// Removed answers [Remove].
	Removed struct {
		Deployment fleet.DeploymentName
		Err        string
	}
	// Observed is what the runtime saw later on a workload that it had applied: it failed (Err not empty),
	// or runs again. It counts for what was applied last without an error, and only while that is wanted.
	Observed struct {
		Deployment fleet.DeploymentName
		Err        string
	}
	// InfoChanged replaces what the device says of itself.
	InfoChanged struct{ Info fleet.DeviceInfo }
)

// Outcome is what a publish came to.
type Outcome uint8

// The outcomes.
const (
	Acknowledged Outcome = iota // it is in the stream
	Refused                     // it is not and will not be
	Unknown                     // it may be, or may still get there
)

func (Started) event()      {}
func (Connected) event()    {}
func (Disconnected) event() {}
func (Lost) event()         {}
func (ResyncAsked) event()  {}
func (Tick) event()         {}
func (Live) event()         {}
func (PageGot) event()      {}
func (AskFailed) event()    {}
func (Published) event()    {}
func (Applied) event()      {}
func (Removed) event()      {}
func (Observed) event()     {}
func (InfoChanged) event()  {}
