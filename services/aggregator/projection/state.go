package projection

import (
	"slices"
	"strings"

	"harmony.dev/fleet"
)

// State is the projection. Create it with [New].
type State struct {
	devices     map[fleet.DeviceID]*device
	deployments map[fleet.DeploymentName]*deployment
	wishes      map[string]*wish // by their bytes
	foreign     *wish            // of all keys whose value somebody else than the reconciler wrote

	// Every known device is in exactly one of the two heaps.
	fresh heap[*device] // the one that was silent for longest on top
	stale heap[*device] // the one that fell silent last on top

	unseen int // devices that have a resource and were never heard of

	cutoff      stamp // devices last seen before it are stale
	since       stamp // creation of the heartbeat bucket: no known device was last seen before it
	newest      stamp // greatest lastSeen
	newestStale bool  // newest must be found anew

	doubted      uint64 // reports of up to this revision may not be the last ones of their devices
	doubtedInfos uint64 // the same of infos

	hold       *fleet.Hold
	holdInView bool

	dirty   map[*deployment]struct{} // their status may have changed
	changed map[*device]struct{}     // their resource may have to change
	asking  map[*device]uint64       // fresh, and something that only the agent can tell is missing; by turn
	unasked line[*device]            // those of them that were not taken yet
	leaving map[*device]struct{}     // nothing is desired on them, and they are deleted or have left keys
	orphans line[orphan]

	maxUnclaimed int // [MaxUnclaimed]

	deviceNames     []fleet.DeviceID       // sorted; nil when it must be made anew
	deploymentNames []fleet.DeploymentName // sorted; nil when it must be made anew
}

// New returns an empty State.
func New() *State {
	s := &State{
		devices:     map[fleet.DeviceID]*device{},
		deployments: map[fleet.DeploymentName]*deployment{},
		wishes:      map[string]*wish{},
		foreign:     &wish{},
		dirty:       map[*deployment]struct{}{},
		changed:     map[*device]struct{}{},
		asking:      map[*device]uint64{},
		leaving:     map[*device]struct{}{},

		maxUnclaimed: MaxUnclaimed,
	}
	s.fresh.before, s.fresh.moved = silentLonger, (*device).setPosition
	s.stale.before, s.stale.moved = silentShorter, (*device).setPosition
	return s
}

// device returns the device, which it makes when there is none.
func (s *State) device(id fleet.DeviceID) *device {
	d := s.devices[id]
	if d == nil {
		id = fleet.DeviceID(strings.Clone(string(id))) // not a part of a longer key
		d = &device{id: id, position: gone}
		s.devices[id] = d
		s.deviceNames = nil
	}
	return d
}

// deployment returns the deployment, which it makes when there is none.
func (s *State) deployment(name fleet.DeploymentName) *deployment {
	d := s.deployments[name]
	if d == nil {
		name = fleet.DeploymentName(strings.Clone(string(name)))
		d = &deployment{name: name}
		d.failed.before, d.failed.moved = failedLater, (*pair).setPosition
		s.deployments[name] = d
		s.deploymentNames = nil
	}
	return d
}

// forgetDevice drops a device that no key supports.
func (s *State) forgetDevice(d *device) {
	if d.mirror != nil || d.infoAt.inView() || d.heartbeat.inView() || len(d.pairs) > 0 || len(d.spares) > 0 {
		return
	}
	s.place(d) // nothing is known of it any more: it leaves its heap
	delete(s.devices, d.id)
	delete(s.changed, d)
	s.deviceNames = nil
}

// forgetDeployment drops a deployment that no key supports.
func (s *State) forgetDeployment(d *deployment) {
	if d.mirror != nil || d.applied != nil || len(d.pairs) > 0 {
		return
	}
	delete(s.deployments, d.name)
	delete(s.dirty, d)
	s.deploymentNames = nil
}

// pair returns the pair, which it makes when there is none.
func (s *State) pair(id fleet.Pair) *pair {
	d := s.device(id.Device)
	i, ok := d.find(id.Deployment)
	if ok {
		return d.pairs[i]
	}
	return s.insert(d, i, id.Deployment)
}

// insert makes a pair, to be the i-th of its device.
func (s *State) insert(d *device, i int, name fleet.DeploymentName) *pair {
	p := &pair{device: d, deployment: s.deployment(name), position: gone}
	d.pairs = slices.Insert(d.pairs, i, p)
	p.slot = int32(len(p.deployment.pairs))
	p.deployment.pairs = append(p.deployment.pairs, p)
	return p
}

// lookup returns the pair, or nil.
func (s *State) lookup(id fleet.Pair) *pair {
	d := s.devices[id.Device]
	if d == nil {
		return nil
	}
	i, ok := d.find(id.Deployment)
	if !ok {
		return nil
	}
	return d.pairs[i]
}

// forgetPair drops a pair that no key supports, and what it alone supported.
func (s *State) forgetPair(p *pair) {
	if p.wish != nil || p.reportAt.inView() {
		return
	}
	d, dep := p.device, p.deployment
	i, _ := d.find(dep.name)
	d.pairs = slices.Delete(d.pairs, i, i+1)

	last := dep.pairs[len(dep.pairs)-1]
	dep.pairs[p.slot], last.slot = last, p.slot
	dep.pairs[len(dep.pairs)-1] = nil
	dep.pairs = dep.pairs[:len(dep.pairs)-1]

	s.forgetDevice(d)
	s.forgetDeployment(dep)
}

// member puts an item into a set or takes it out.
func member[T comparable](set map[T]struct{}, item T, in bool) {
	if in {
		set[item] = struct{}{}
	} else {
		delete(set, item)
	}
}
