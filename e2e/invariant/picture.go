package invariant

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// picture is a stack at rest.
type picture struct {
	event       int
	at          time.Time
	rest        *record.Rest
	deployments map[fleet.DeploymentName]*shown
	devices     map[fleet.DeviceID]*resource
	desired     map[fleet.Pair]record.Entry // without illegal keys
	poisoned    bool                        // some entry is not of the contract
}

// shown is a Deployment at rest.
type shown struct {
	*resource
	name      fleet.DeploymentName
	hasStatus bool
	status    fleet.DeploymentStatus
	err       error // why the status cannot be read
}

// standsStill reports whether the keys of a Deployment are to stay as they are, whatever they are: it is
// stalled as Held or Invalid, it cannot be applied, or the patcher cannot mirror it.
func (d *shown) standsStill() bool {
	stalled := conditionOf(&d.status, fleet.ConditionStalled)
	blocked := stalled.Status == fleet.ConditionTrue && (stalled.Reason == fleet.ReasonHeld || stalled.Reason == fleet.ReasonInvalid)
	return blocked || !d.deleting && (d.target.invalid || !d.carried)
}

// pictures are the times at which the stack was at rest and every service ready.
func (h *history) pictures() []*picture {
	if h.rests == nil {
		h.rests = []*picture{}
		for i, e := range h.events {
			if e.Rest != nil && e.Rest.Ready {
				h.rests = append(h.rests, h.picture(i))
			}
		}
	}
	return h.rests
}

func (h *history) picture(event int) *picture {
	p := &picture{
		event: event, at: h.events[event].At, rest: h.events[event].Rest,
		deployments: map[fleet.DeploymentName]*shown{}, devices: map[fleet.DeviceID]*resource{}, desired: map[fleet.Pair]record.Entry{},
	}
	for i := range p.rest.Resources {
		w := &p.rest.Resources[i]
		if w.Resource == fleet.KindDevice {
			p.devices[fleet.DeviceID(w.Name)] = h.targets.resourceOf(w)
			continue
		}
		d := &shown{resource: h.targets.resourceOf(w), name: fleet.DeploymentName(w.Name), hasStatus: hasStatus(w.Status)}
		if d.hasStatus {
			d.err = json.Unmarshal(w.Status, &d.status)
		}
		p.deployments[d.name] = d
	}
	for key, e := range p.rest.Keys[fleet.BucketDesiredState] {
		if pair, err := fleet.ParseDesiredKey(key); err == nil {
			p.desired[pair] = e
		}
	}
	p.poisoned = isPoisoned(p.rest)
	return p
}

func (p *picture) names() []fleet.DeploymentName { return slices.Sorted(maps.Keys(p.deployments)) }

// of returns the resource of a Deployment, nil when there is none.
func (p *picture) of(name fleet.DeploymentName) *resource {
	if d := p.deployments[name]; d != nil {
		return d.resource
	}
	return nil
}
