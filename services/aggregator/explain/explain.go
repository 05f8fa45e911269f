// Package explain says why a device runs or does not run a Deployment.
//
// The answer has one verdict, the first of these that holds:
//
//	NoDeployment, DeploymentDeleting         there is no such wish
//	NotRegistered, DeviceDeleting, Quarantined   the device is out of scope
//	Held, Removing                           it is in desired-state, and nothing wishes it any more
//	Running, Failed, Stale                   it is desired, and this is what was reported
//	NoReport, PoisonReport, HashDiffers, Unconfirmed, Pending   it is desired, and not known to run
//	DeviceInvalid, Invalid, NoMatch          it is not desired, and will not be
//	Held, Applying                           it is not desired yet
//
// with a sentence, the facts that led to it, and what to do next. A hold of the brake comes first where it keeps what
// its Deployment or device has lost. The package decides nothing: it reads
// what the projection has.
package explain

import (
	"fmt"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// The verdicts.
const (
	NoDeployment       = "NoDeployment"
	DeploymentDeleting = "DeploymentDeleting"
	NotRegistered      = "NotRegistered"
	DeviceDeleting     = "DeviceDeleting"
	Quarantined        = "Quarantined"
	Running            = "Running"
	Failed             = "Failed"
	Stale              = "Stale"
	NoReport           = "NoReport"
	PoisonReport       = "PoisonReport"
	HashDiffers        = "HashDiffers"
	Unconfirmed        = "Unconfirmed"
	Pending            = "Pending"
	DeviceInvalid      = "DeviceInvalid"
	Invalid            = "Invalid"
	NoMatch            = "NoMatch"
	Held               = "Held"
	Removing           = "Removing"
	Applying           = "Applying"
)

// Input is what an explanation follows from. The zero values stand for what is not there; Device.ID and
// Deployment.Name must be set.
type Input struct {
	Device     projection.Device
	Deployment projection.Deployment
	Pair       projection.Pair
	Hold       *fleet.Hold
}

// answer is a verdict on its way. The reason is what devices with the same answer have in common.
type answer struct{ verdict, message, next, reason string }

func say(verdict, message, next string) answer {
	return answer{verdict: verdict, message: message, next: next}
}

// because adds the reason.
func (a answer) because(reason string) answer {
	a.reason = reason
	return a
}

// Explain answers.
func Explain(in Input) fleet.Explanation {
	a := judge(in)
	out := fleet.Explanation{Verdict: a.verdict, Message: a.message, Next: a.next, Facts: facts(in)}
	if in.Pair.Desired || in.Pair.Reported {
		view := in.Pair.PairView
		out.Pair = &view
	}
	return out
}

func judge(in Input) answer {
	if a, ok := held(in); ok {
		return a
	}
	if a, ok := outOfScope(in); ok {
		return a
	}
	if !in.Pair.Desired {
		return undesired(in)
	}
	if a, ok := leaving(in); ok {
		return a
	}
	return desired(in)
}

// held judges a pair that is kept only because the brake holds its delete back.
func held(in Input) (a answer, ok bool) {
	dev, dep := in.Device, in.Deployment
	if !in.Pair.Desired || in.Hold == nil || in.Hold.Approved || passes(dep, dev) {
		return answer{}, false
	}
	a = answer{verdict: Held, next: "restore what is gone, or approve that it goes: fleet hold approve " + in.Hold.ID}
	switch {
	case !dep.Registered:
		a.reason = fmt.Sprintf("there is no deployment %s any more, and hold %s keeps what it was", dep.Name, in.Hold.ID)
		a.message = fmt.Sprintf("device %s keeps %s: %s", dev.ID, dep.Name, a.reason)
	case !dev.Registered:
		a.reason = fmt.Sprintf("its Device resource is gone, and hold %s keeps what it runs", in.Hold.ID)
		a.message = fmt.Sprintf("device %s keeps %s: %s", dev.ID, dep.Name, a.reason)
	default:
		return answer{}, false
	}
	return a, true
}

// passes reports whether a delete passes the brake whatever else holds: somebody has deleted one of the two, or
// quarantined the device.
func passes(dep projection.Deployment, dev projection.Device) bool {
	deleted := func(t *fleet.Tombstone) bool { return t != nil && t.Cause == fleet.TombstoneDeleted }
	return dep.Registered && dep.Deleting || deleted(dep.Tombstone) || deleted(dev.Resource.Tombstone) ||
		dev.Registered && (dev.Resource.Deleting || dev.Resource.Quarantined)
}

// leaving judges a pair that is in desired-state although the Deployment does not select the device.
func leaving(in Input) (a answer, ok bool) {
	if in.Device.Resource.Invalid != "" {
		return answer{}, false
	}
	if d := in.Deployment; d.Applied != nil && d.Applied.UID == d.UID && d.Applied.Invalid != "" {
		return answer{}, false // an invalid Deployment stays as it is, and what runs is told
	}
	misses, err := mismatches(in.Deployment.Selector, in.Device.Resource.Labels)
	if err != nil || len(misses) == 0 {
		return answer{}, false
	}
	a = answer{verdict: Removing, reason: misses[0], next: "wait: a delete that no edit explains waits until the mirror is quiet for about 10 s; fleet plan shows it, and fleet status why when it takes longer than a minute"}
	if edited(in.Deployment) {
		a.next = "wait: it is taken down as soon as the reconciler has deleted its key; see fleet status when it takes longer than a minute"
	}
	if h := in.Hold; h != nil && !h.Approved && !edited(in.Deployment) {
		a.verdict, a.next = Held, "give the device its label back, or approve that it goes: fleet hold approve "+h.ID
	}
	a.message = fmt.Sprintf("device %s still has %s, which does not select it any more: %s", in.Device.ID, in.Deployment.Name, misses[0])
	return a, true
}

// edited reports whether the Deployment itself has changed since it was applied: what that removes passes the brake.
func edited(d projection.Deployment) bool {
	return d.Applied == nil || d.Applied.UID == d.UID && d.Generation > d.Applied.Generation
}

// outOfScope judges what keeps the pair from being wished for at all.
func outOfScope(in Input) (a answer, ok bool) {
	dev, dep := in.Device, in.Deployment
	switch {
	case !dep.Registered && dep.Tombstone != nil:
		return say(NoDeployment, fmt.Sprintf("deployment %s is gone (%s)", dep.Name, dep.Tombstone.Cause), ""), true
	case !dep.Registered:
		return say(NoDeployment, fmt.Sprintf("there is no deployment %s", dep.Name), "list them with: fleet get deployments"), true
	case dep.Deleting:
		return say(DeploymentDeleting, fmt.Sprintf("deployment %s is being deleted", dep.Name), "wait: each device that is reachable takes it down"), true
	case !dev.Registered:
		return notRegistered(dev), true
	case dev.Resource.Deleting && in.Hold != nil:
		return say(DeviceDeleting, fmt.Sprintf("device %s is being deleted, and nothing is cleared while hold %s lasts", dev.ID, in.Hold.ID), "look at what is held: fleet hold show"), true
	case dev.Resource.Deleting:
		return say(DeviceDeleting, fmt.Sprintf("device %s is being deleted: nothing is deployed to it", dev.ID), "a living agent registers again when the deletion is done; to keep it out, quarantine it"), true
	case dev.Resource.Quarantined:
		return say(Quarantined, fmt.Sprintf("device %s is quarantined: nothing is deployed to it", dev.ID), "lift the quarantine in the spec of the Device"), true
	}
	return answer{}, false
}

func notRegistered(d projection.Device) answer {
	a := answer{verdict: NotRegistered}
	switch {
	case d.InfoSpoiled && d.Info == nil:
		a.reason = "its info is malformed"
		a.next = "mend the agent; fleet-aggregator's health shows what is wrong with key " + fleet.InfoKey(d.ID)
	case !d.Known:
		a.reason = "it has never been heard of"
		a.next = "check the device id, and that its agent runs and reaches NATS"
	case d.Info == nil:
		a.reason = "it sends messages but no info"
		a.next = "its agent is asked to send it again; check the agent's version when that does not help"
	case d.Resource.Tombstone != nil && !d.InfoAt.At.After(d.ResourceAt.At):
		a.reason = "it was deleted, and its info is from before"
		a.next = "a living agent is asked to register again"
	default:
		a.reason = "it is not registered yet"
		a.next = "it is registered from its info; see fleet status when that takes longer than a few seconds"
	}
	a.message = fmt.Sprintf("device %s has no Device resource: %s", d.ID, a.reason)
	return a
}

// desired judges a pair that is in desired-state.
func desired(in Input) answer {
	p := in.Pair
	switch p.Class {
	case fleet.ClassRunning:
		return say(Running, fmt.Sprintf("device %s runs %s as desired", p.Device, p.Deployment), "")
	case fleet.ClassFailed:
		return say(Failed, fmt.Sprintf("%s failed on device %s: %s", p.Deployment, p.Device, orUnknown(p.LastError)), "see the device's own log; a corrected deployment is tried at once").because(orUnknown(p.LastError))
	case fleet.ClassStale:
		return say(
			Stale, fmt.Sprintf("device %s has been silent since %s; %s was %s then", p.Device, stamp(in.Device.LastSeen), p.Deployment, p.LastKnown),
			"check power and network of the device; it counts again with its next message",
		).because(fmt.Sprintf("it was %s when it was last heard of", p.LastKnown))
	case fleet.ClassPending:
	}
	return waiting(in)
}

// waiting judges a desired pair that is pending.
func waiting(in Input) answer {
	p := in.Pair
	resync := "the device is asked to send its reports again"
	if !in.Device.Known {
		resync = "check that the agent of the device runs and reaches NATS"
	}
	switch {
	case !p.Trusted:
		return say(Unconfirmed, "the desired value in the bucket was not written by the reconciler, or is malformed", "the reconciler rewrites it; see fleet status")
	case in.Deployment.UID != p.WishUID:
		return say(Unconfirmed, "the desired value in the bucket is of an earlier deployment of the same name", "the reconciler rewrites it; see fleet status")
	case !p.Reported:
		return say(NoReport, fmt.Sprintf("device %s has not reported on %s", p.Device, p.Deployment), resync)
	case p.Phase == "":
		return say(PoisonReport, fmt.Sprintf("the last report of device %s on %s is malformed", p.Device, p.Deployment), "mend the agent; fleet-aggregator's health shows what is wrong")
	case p.ObservedHash != p.DesiredHash:
		return say(HashDiffers, fmt.Sprintf("the last report of device %s (%s) is about another value than the desired one", p.Device, p.Phase), "wait for its report on the desired value").because(fmt.Sprintf("it last reported %s on another value", p.Phase))
	}
	return say(Pending, fmt.Sprintf("device %s is still bringing up %s", p.Device, p.Deployment), "wait for its next report")
}

// undesired judges a pair that is not in desired-state although nothing rules it out.
func undesired(in Input) answer {
	dep := in.Deployment
	if why := in.Device.Resource.Invalid; why != "" {
		return say(DeviceInvalid, fmt.Sprintf("the Device resource %s cannot be mirrored, so what it is to run stays as it is: %s", in.Device.ID, why), "mend the resource; fleet-patcher's health shows what is wrong")
	}
	misses, err := mismatches(dep.Selector, in.Device.Resource.Labels)
	applied := dep.Applied != nil && dep.Applied.UID == dep.UID
	switch {
	case err != nil:
		return say(Invalid, fmt.Sprintf("the selector of %s cannot be used: %v", dep.Name, err), "correct spec.targetSelector")
	case len(misses) > 0:
		return say(NoMatch, fmt.Sprintf("%s does not select device %s: %s", dep.Name, in.Device.ID, misses[0]), "change the labels of the Device or the selector of the Deployment").because(misses[0])
	case dep.Applied != nil && dep.Applied.Held != "":
		return say(Held, fmt.Sprintf("hold %s keeps %s as it is", dep.Applied.Held, dep.Name), "restore what has vanished, or approve the hold")
	case applied && dep.Applied.Invalid != "":
		return say(Invalid, fmt.Sprintf("%s cannot be applied: %s", dep.Name, dep.Applied.Invalid), "correct the spec")
	}
	return say(Applying, fmt.Sprintf("%s selects device %s but is not written to its desired state yet", dep.Name, in.Device.ID), "wait a moment; see fleet status when it takes longer")
}

func orUnknown(text string) string {
	if text == "" {
		return "it said no more"
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
