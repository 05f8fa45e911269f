// Package status turns what the projection counts of one Deployment into the status that its resource
// shows.
//
// The conditions follow kstatus, so that kubectl wait, Flux, Argo CD and Helm understand them. The first
// line that holds decides; the other conditions are False:
//
//	being deleted                         Reconciling   DeploymentDeleted
//	the brake holds deletes back          Stalled       Held
//	this generation cannot be applied     Stalled       Invalid
//	this generation is not applied        Reconciling   Applying
//	a pair is pending                     Reconciling   Pending
//	a pair failed                         Stalled       DevicesFailed
//	a stale pair was not running at last  none          StaleNotRunning
//	else                                  Ready         AllRunning or NoDevicesMatch
//
// While the whole fleet is silent, the reason of the last two and of Pending is HeartbeatsSilent: one
// incident, not as many as there are devices.
//
// Invariants: the result is a function of its input, of constant size, and carries no time but the one
// that a report brought. Ready is True only when this generation is applied, nothing failed or is
// pending, and every stale pair last ran the desired value.
package status

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// Input is what the status of a Deployment follows from.
type Input struct {
	UID        string         // of the mirror entry
	Generation int64          // of the mirror entry
	Deleting   bool           // it says so
	Applied    *fleet.Applied // the reconciler's record of this name, nil when there is none
	Aggregate  fleet.Aggregate
	Silent     bool // the whole fleet is silent
}

// Of returns the status of a Deployment as the projection has it. Silent says that the whole fleet is.
func Of(d projection.Deployment, silent bool) fleet.DeploymentStatus {
	return Compute(Input{
		UID: d.UID, Generation: d.Generation, Deleting: d.Deleting,
		Applied: d.Applied, Aggregate: d.Aggregate, Silent: silent,
	})
}

// Compute returns the status.
func Compute(in Input) fleet.DeploymentStatus {
	observed := Observed(in)
	f := judge(in)
	ready := condition(fleet.ConditionReady, f.ready, f.reason, f.message)
	reconciling := condition(fleet.ConditionReconciling, f.reconciling, f.reason, f.message)
	if !f.reconciling {
		reconciling.Reason, reconciling.Message = fleet.ReasonNothingToDo, "nothing to do"
	}
	stalled := condition(fleet.ConditionStalled, f.stalled, f.reason, f.message)
	if !f.stalled {
		stalled.Reason, stalled.Message = fleet.ReasonNotStalled, "not stalled"
	}
	conditions := []fleet.Condition{ready, reconciling, stalled}
	for i := range conditions {
		conditions[i].ObservedGeneration = observed
	}
	return fleet.DeploymentStatus{ObservedGeneration: observed, Aggregate: in.Aggregate, Conditions: conditions}
}

// Observed returns the generation that both the reconciler has applied and the mirror shows. The two
// have no mutual order, so it is the lesser; a record of another uid is about another Deployment.
func Observed(in Input) int64 {
	if in.Applied == nil || in.Applied.UID != in.UID {
		return 0
	}
	return min(in.Applied.Generation, in.Generation)
}

// finding is the line of the table that decides.
type finding struct {
	ready, reconciling, stalled bool
	reason, message             string
}

func judge(in Input) finding {
	a := in.Aggregate
	applied := in.Applied != nil && in.Applied.UID == in.UID && in.Applied.Generation == in.Generation
	switch {
	case in.Deleting:
		return finding{reconciling: true, reason: fleet.ReasonDeploymentDeleted, message: fmt.Sprintf("being deleted, still on %s", devices(a.MatchedDeviceCount))}
	case in.Applied != nil && in.Applied.Held != "":
		return finding{stalled: true, reason: fleet.ReasonHeld, message: fmt.Sprintf("hold %s keeps deletes back until the resources return or a person approves it", clip(in.Applied.Held))}
	case applied && in.Applied.Invalid != "":
		return finding{stalled: true, reason: fleet.ReasonInvalid, message: clip(in.Applied.Invalid)}
	case !applied:
		return finding{reconciling: true, reason: fleet.ReasonApplying, message: fmt.Sprintf("generation %d is being written to the desired state", in.Generation)}
	case a.Pending > 0:
		return finding{reconciling: true, reason: incident(in, fleet.ReasonPending), message: fmt.Sprintf("waiting for %s of %d%s", devices(a.Pending), a.MatchedDeviceCount, silence(in))}
	case a.Failed > 0:
		return finding{stalled: true, reason: fleet.ReasonDevicesFailed, message: fmt.Sprintf("failed on %s of %d%s", devices(a.Failed), a.MatchedDeviceCount, lastError(a))}
	case a.StaleLastKnown.Running < a.Stale:
		n := a.Stale - a.StaleLastKnown.Running
		return finding{reason: incident(in, fleet.ReasonStaleNotRunning), message: fmt.Sprintf("%s of %d fell silent before running it%s", devices(n), a.MatchedDeviceCount, silence(in))}
	case a.MatchedDeviceCount == 0:
		return finding{ready: true, reason: fleet.ReasonNoDevicesMatch, message: "the selector matches no device"}
	case a.Stale > 0:
		return finding{ready: true, reason: incident(in, fleet.ReasonAllRunning), message: fmt.Sprintf("running on %s, %d more silent and last heard of running%s", devices(a.Running), a.Stale, silence(in))}
	}
	return finding{ready: true, reason: fleet.ReasonAllRunning, message: fmt.Sprintf("running on %s", devices(a.Running))}
}

// lastError says what the device that failed last said.
func lastError(a fleet.Aggregate) string {
	if a.LastError == nil {
		return ""
	}
	said := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, clip(a.LastError.Message))
	return fmt.Sprintf(", %s last: %s", a.LastError.Device, said)
}

// incident returns the reason, or that the fleet is silent when that is what stands behind it.
func incident(in Input, reason string) string {
	if in.Silent && in.Aggregate.Stale > 0 {
		return fleet.ReasonHeartbeatsSilent
	}
	return reason
}

func silence(in Input) string {
	if in.Silent && in.Aggregate.Stale > 0 {
		return "; no device of the fleet is heard of"
	}
	return ""
}

func condition(kind string, is bool, reason, message string) fleet.Condition {
	s := fleet.ConditionFalse
	if is {
		s = fleet.ConditionTrue
	}
	return fleet.Condition{Type: kind, Status: s, Reason: reason, Message: message}
}

func devices(n int) string {
	if n == 1 {
		return "1 device"
	}
	return fmt.Sprintf("%d devices", n)
}

// maxText is how much of a text of the reconciler is shown, in bytes.
const maxText = 512

func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
