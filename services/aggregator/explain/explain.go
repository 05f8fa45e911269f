// Package explain says why a device runs or does not run a Deployment.
//
// The answer has one verdict, the first of these that holds:
//
//	NoDeployment, DeploymentDeleting         there is no such wish
//	NotRegistered, DeviceDeleting, Quarantined   the device is out of scope
//	Running, Failed, Stale                   it is desired, and this is what was reported
//	NoReport, PoisonReport, HashDiffers, Unconfirmed, Pending   it is desired, and not known to run
//	DeviceInvalid, Invalid, NoMatch          it is not desired, and will not be
//	Held, Applying                           it is not desired yet
//
// with a sentence, the facts that led to it, and what to do next. The package decides nothing: it reads
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

// answer is a verdict on its way.
type answer struct{ verdict, message, next string }

// Explain answers.
func Explain(in Input) fleet.DeviceExplainResponse {
	a, decided := outOfScope(in)
	switch {
	case decided:
	case in.Pair.Desired:
		a = desired(in)
	default:
		a = undesired(in)
	}
	out := fleet.DeviceExplainResponse{Verdict: a.verdict, Message: a.message, Next: a.next, Facts: facts(in)}
	if in.Pair.Desired || in.Pair.Reported {
		view := in.Pair.PairView
		out.Pair = &view
	}
	return out
}

// outOfScope judges what keeps the pair from being wished for at all.
func outOfScope(in Input) (a answer, ok bool) {
	dev, dep := in.Device, in.Deployment
	switch {
	case !dep.Registered && dep.Tombstone != nil:
		return answer{NoDeployment, fmt.Sprintf("deployment %s is gone (%s)", dep.Name, dep.Tombstone.Cause), ""}, true
	case !dep.Registered:
		return answer{NoDeployment, fmt.Sprintf("there is no deployment %s", dep.Name), "list them with: fleet get deployments"}, true
	case dep.Deleting:
		return answer{DeploymentDeleting, fmt.Sprintf("deployment %s is being deleted", dep.Name), "wait: each device that is reachable takes it down"}, true
	case !dev.Registered:
		return notRegistered(dev), true
	case dev.Resource.Deleting:
		return answer{DeviceDeleting, fmt.Sprintf("device %s is being deleted: nothing is deployed to it", dev.ID), "a living agent registers again when the deletion is done; to keep it out, quarantine it"}, true
	case dev.Resource.Quarantined:
		return answer{Quarantined, fmt.Sprintf("device %s is quarantined: nothing is deployed to it", dev.ID), "lift the quarantine in the spec of the Device"}, true
	}
	return answer{}, false
}

func notRegistered(d projection.Device) answer {
	a := answer{verdict: NotRegistered, message: fmt.Sprintf("device %s has no Device resource", d.ID)}
	switch {
	case d.InfoSpoiled && d.Info == nil:
		a.message += ": its info is malformed"
		a.next = "mend the agent; fleet-aggregator's health shows what is wrong with key " + fleet.InfoKey(d.ID)
	case !d.Known:
		a.message += " and has never been heard of"
		a.next = "check the device id, and that its agent runs and reaches NATS"
	case d.Info == nil:
		a.message += ": it sends messages but no info"
		a.next = "its agent is asked to send it again; check the agent's version when that does not help"
	case d.Resource.Tombstone != nil && !d.InfoAt.At.After(d.ResourceAt.At):
		a.message += ": it was deleted, and its info is from before"
		a.next = "a living agent is asked to register again"
	default:
		a.message += " yet"
		a.next = "it is registered from its info; see fleet status when that takes longer than a few seconds"
	}
	return a
}

// desired judges a pair that is in desired-state.
func desired(in Input) answer {
	p := in.Pair
	switch p.Class {
	case fleet.ClassRunning:
		return answer{Running, fmt.Sprintf("device %s runs %s as desired", p.Device, p.Deployment), ""}
	case fleet.ClassFailed:
		return answer{Failed, fmt.Sprintf("%s failed on device %s: %s", p.Deployment, p.Device, orUnknown(p.LastError)), "see the device's own log; a corrected deployment is tried at once"}
	case fleet.ClassStale:
		return answer{
			Stale, fmt.Sprintf("device %s has been silent since %s; %s was %s then", p.Device, stamp(in.Device.LastSeen), p.Deployment, p.LastKnown),
			"check power and network of the device; it counts again with its next message",
		}
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
		return answer{Unconfirmed, "the desired value in the bucket was not written by the reconciler, or is malformed", "the reconciler rewrites it; see fleet status"}
	case in.Deployment.UID != p.WishUID:
		return answer{Unconfirmed, "the desired value in the bucket is of an earlier deployment of the same name", "the reconciler rewrites it; see fleet status"}
	case !p.Reported:
		return answer{NoReport, fmt.Sprintf("device %s has not reported on %s", p.Device, p.Deployment), resync}
	case p.Phase == "":
		return answer{PoisonReport, fmt.Sprintf("the last report of device %s on %s is malformed", p.Device, p.Deployment), "mend the agent; fleet-aggregator's health shows what is wrong"}
	case p.ObservedHash != p.DesiredHash:
		return answer{HashDiffers, fmt.Sprintf("the last report of device %s (%s) is about another value than the desired one", p.Device, p.Phase), "wait for its report on the desired value"}
	}
	return answer{Pending, fmt.Sprintf("device %s is still bringing up %s", p.Device, p.Deployment), "wait for its next report"}
}

// undesired judges a pair that is not in desired-state although nothing rules it out.
func undesired(in Input) answer {
	dep := in.Deployment
	if why := in.Device.Resource.Invalid; why != "" {
		return answer{DeviceInvalid, fmt.Sprintf("the Device resource %s cannot be mirrored, so what it is to run stays as it is: %s", in.Device.ID, why), "mend the resource; fleet-patcher's health shows what is wrong"}
	}
	misses, err := mismatches(dep.Selector, in.Device.Resource.Labels)
	applied := dep.Applied != nil && dep.Applied.UID == dep.UID
	switch {
	case err != nil:
		return answer{Invalid, fmt.Sprintf("the selector of %s cannot be used: %v", dep.Name, err), "correct spec.targetSelector"}
	case len(misses) > 0:
		return answer{NoMatch, fmt.Sprintf("%s does not select device %s: %s", dep.Name, in.Device.ID, misses[0]), "change the labels of the Device or the selector of the Deployment"}
	case dep.Applied != nil && dep.Applied.Held != "":
		return answer{Held, fmt.Sprintf("hold %s keeps %s as it is", dep.Applied.Held, dep.Name), "restore what has vanished, or approve the hold"}
	case applied && dep.Applied.Invalid != "":
		return answer{Invalid, fmt.Sprintf("%s cannot be applied: %s", dep.Name, dep.Applied.Invalid), "correct the spec"}
	}
	return answer{Applying, fmt.Sprintf("%s selects device %s but is not written to its desired state yet", dep.Name, in.Device.ID), "wait a moment; see fleet status when it takes longer"}
}

func orUnknown(text string) string {
	if text == "" {
		return "it said no more"
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
