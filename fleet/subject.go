package fleet

import (
	"fmt"
	"strings"
)

// The services, as micro and the cluster know them.
const (
	ServiceAggregator = "fleet-aggregator"
	ServiceReconciler = "fleet-reconciler"
	ServicePatcher    = "fleet-patcher"
)

// Services lists the services in the order in which people read them.
func Services() []string { return []string{ServicePatcher, ServiceReconciler, ServiceAggregator} }

const subjectPrefix = "fleet.v1."

// Role says which replicas of a service answer an endpoint.
type Role string

// The roles.
const (
	RoleQuery  Role = "query"  // any one synced replica: a queue group
	RoleActing Role = "acting" // the lease holder; the others stay silent
	RoleEvery  Role = "every"  // each replica
)

// Endpoint is one micro endpoint.
type Endpoint struct {
	Service string // "fleet-aggregator"
	Name    string // "deployments-list", as micro shows it
	Subject string // "fleet.v1.aggregator.deployments.list"
	Role    Role
}

// The endpoints. All take and give JSON.
var (
	DeploymentsList   = query(ServiceAggregator, "deployments.list")   // fleet.v1.aggregator.deployments.list
	DeploymentsGet    = query(ServiceAggregator, "deployments.get")    // fleet.v1.aggregator.deployments.get
	DeploymentExplain = query(ServiceAggregator, "deployment.explain") // fleet.v1.aggregator.deployment.explain
	DevicesList       = query(ServiceAggregator, "devices.list")       // fleet.v1.aggregator.devices.list
	DevicesSummary    = query(ServiceAggregator, "devices.summary")    // fleet.v1.aggregator.devices.summary
	DevicesGet        = query(ServiceAggregator, "devices.get")        // fleet.v1.aggregator.devices.get
	DeviceExplain     = query(ServiceAggregator, "device.explain")     // fleet.v1.aggregator.device.explain
	DeviceVerdicts    = query(ServiceAggregator, "device.verdicts")    // fleet.v1.aggregator.device.verdicts
	SelectorMatch     = query(ServiceAggregator, "selector.match")     // fleet.v1.aggregator.selector.match

	PlanShow    = query(ServiceReconciler, "plan.show")     // fleet.v1.reconciler.plan.show
	TargetsList = query(ServiceReconciler, "targets.list")  // fleet.v1.reconciler.targets.list
	HoldApprove = acting(ServiceReconciler, "hold.approve") // fleet.v1.reconciler.hold.approve

	StatusApply      = acting(ServicePatcher, "status.apply")      // fleet.v1.patcher.status.apply
	DeviceApply      = acting(ServicePatcher, "device.apply")      // fleet.v1.patcher.device.apply
	FinalizerRelease = acting(ServicePatcher, "finalizer.release") // fleet.v1.patcher.finalizer.release
	EventRecord      = acting(ServicePatcher, "event.record")      // fleet.v1.patcher.event.record
)

// Endpoints lists every endpoint of every service.
func Endpoints() []Endpoint {
	all := []Endpoint{
		DeploymentsList, DeploymentsGet, DeploymentExplain,
		DevicesList, DevicesSummary, DevicesGet, DeviceExplain, DeviceVerdicts, SelectorMatch,
		PlanShow, TargetsList, HoldApprove,
		StatusApply, DeviceApply, FinalizerRelease, EventRecord,
	}
	for _, s := range Services() {
		all = append(all, HealthEndpoint(s))
	}
	return all
}

// HealthEndpoint returns the health endpoint of a service: "fleet.v1.patcher.health".
func HealthEndpoint(service string) Endpoint {
	return endpoint(service, healthName, RoleEvery)
}

const healthName = "health"

// SubjectResyncAll asks every agent to resync: "fleet.v1.agents.resync".
const SubjectResyncAll = subjectPrefix + "agents.resync"

// ResyncSubject asks one agent to resync: "fleet.v1.agents.resync.pi-07".
func ResyncSubject(d DeviceID) string { return SubjectResyncAll + "." + string(d) }

// ParseResyncSubject is the inverse of [ResyncSubject]; for [SubjectResyncAll] the device is empty.
func ParseResyncSubject(subject string) (DeviceID, error) {
	if subject == SubjectResyncAll {
		return "", nil
	}
	s, ok := strings.CutPrefix(subject, SubjectResyncAll+".")
	d := DeviceID(s)
	if !ok {
		return "", fmt.Errorf("%w: %.80q is no resync subject", ErrInvalid, subject)
	}
	if err := d.Validate(); err != nil {
		return "", err
	}
	return d, nil
}

const desiredPrefix = subjectPrefix + "reconciler.device.desired."

// DesiredSubject is where an agent asks for its snapshot: "fleet.v1.reconciler.device.desired.pi-07".
// It is a plain subscription of the holder on the data connection, no micro endpoint.
func DesiredSubject(d DeviceID) string { return desiredPrefix + string(d) }

// DesiredSubjects is the subscription of the holder: "fleet.v1.reconciler.device.desired.*".
const DesiredSubjects = desiredPrefix + "*"

// ParseDesiredSubject is the inverse of [DesiredSubject].
func ParseDesiredSubject(subject string) (DeviceID, error) {
	s, ok := strings.CutPrefix(subject, desiredPrefix)
	d := DeviceID(s)
	if !ok {
		return "", fmt.Errorf("%w: %.80q is no snapshot subject", ErrInvalid, subject)
	}
	if err := d.Validate(); err != nil {
		return "", err
	}
	return d, nil
}

// LivePrefix is where the server republishes desired-state: "fleet.v1.live.".
const LivePrefix = subjectPrefix + "live."

// LiveSubject carries the changes of one pair: "fleet.v1.live.pi-07.web".
func LiveSubject(p Pair) string { return LivePrefix + DesiredKey(p) }

// LiveSubjects is the subscription of one agent: "fleet.v1.live.pi-07.*".
func LiveSubjects(d DeviceID) string { return LivePrefix + string(d) + ".*" }

// ParseLiveSubject is the inverse of [LiveSubject].
func ParseLiveSubject(subject string) (Pair, error) {
	s, ok := strings.CutPrefix(subject, LivePrefix)
	if !ok {
		return Pair{}, fmt.Errorf("%w: %.80q is no live subject", ErrInvalid, subject)
	}
	return ParseDesiredKey(s)
}

func query(service, noun string) Endpoint  { return endpoint(service, noun, RoleQuery) }
func acting(service, noun string) Endpoint { return endpoint(service, noun, RoleActing) }

func endpoint(service, noun string, role Role) Endpoint {
	return Endpoint{
		Service: service,
		Name:    strings.ReplaceAll(noun, ".", "-"),
		Subject: subjectPrefix + strings.TrimPrefix(service, "fleet-") + "." + noun,
		Role:    role,
	}
}
