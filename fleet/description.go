package fleet

import "strings"

// Description is one sentence on what the endpoint is for, as people read it in `nats micro info`; "" for an endpoint
// that is none of [Endpoints].
func (e Endpoint) Description() string {
	switch e.Subject {
	case DeploymentsList.Subject:
		return "Deployments with their statuses, sorted by name, in pages"
	case DeploymentsGet.Subject:
		return "one Deployment with its pairs: those that failed, are stale or pending come first"
	case DeploymentExplain.Subject:
		return "why a Deployment is what it is: its devices, grouped by verdict and reason"
	case DevicesList.Subject:
		return "devices, sorted by name, in pages; by state, selector, Deployment, or whether they are registered"
	case DevicesSummary.Subject:
		return "all devices in short: name, state and the gravest that a Deployment on them counts as; in pages"
	case DevicesGet.Subject:
		return "one device with its pairs"
	case DeviceExplain.Subject:
		return "why a device runs or does not run a Deployment, and what to do next"
	case DeviceVerdicts.Subject:
		return "why a device runs or does not run each Deployment, in pages"
	case SelectorMatch.Subject:
		return "which devices a selector matches"
	case PlanShow.Subject:
		return "what would be written to desired-state now, or if a Deployment were changed: a dry run"
	case TargetsList.Subject:
		return "the devices that a Deployment is desired on"
	case HoldApprove.Subject:
		return "lets the deletes of a hold pass; for a person who has looked at them"
	case StatusApply.Subject:
		return "writes the status of a Deployment; for the aggregator"
	case DeviceApply.Subject:
		return "creates a Device, or brings its labels and status up to date; for the aggregator"
	case FinalizerRelease.Subject:
		return "takes a finalizer off a resource that is being deleted; for the reconciler and the aggregator"
	case EventRecord.Subject:
		return "records a Kubernetes Event; for the reconciler and the aggregator"
	}
	if e.Name == healthName && strings.HasPrefix(e.Subject, subjectPrefix) {
		return "how this instance is: state, reasons, lease, and what it reads"
	}
	return ""
}
