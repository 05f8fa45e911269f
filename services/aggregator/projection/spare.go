package projection

import (
	"fmt"
	"iter"
	"strings"

	"harmony.dev/fleet"
)

// MaxUnclaimed is how many reports of one device are kept on pairs that are not desired: far more than a
// device runs. Its permissions let it invent any name, and each costs a pair and a deployment.
const MaxUnclaimed = 1024

// ErrUnclaimed is why a report is not kept. Should its pair be desired one day, then it has no report, the
// device asks, and its agent sends it again.
var ErrUnclaimed = fmt.Errorf("the device has reports on %d deployments that are not desired on it: no more are kept", MaxUnclaimed)

// spare is a report in view that is not kept: nothing but where it stands, so that it can be removed.
type spare struct {
	device    *device
	name      fleet.DeploymentName
	at        origin
	unclaimed *place[orphan]
}

func (r *spare) export() Orphan {
	return Orphan{fleet.BucketDeviceState, fleet.StateKey(r.id()), r.at.revision}
}

func (r *spare) id() fleet.Pair { return fleet.Pair{Device: r.device.id, Deployment: r.name} }

// crowded reports whether as many reports are kept on pairs that are not desired as may be.
func (s *State) crowded(d *device) bool { return len(d.pairs)-int(d.desired) >= s.maxUnclaimed }

// keeper returns the pair that keeps a report, which it makes when there is none. It returns nil when the
// report is not kept.
func (s *State) keeper(id fleet.Pair, at Origin) *pair {
	d := s.device(id.Device)
	i, ok := d.find(id.Deployment)
	if !ok && s.crowded(d) {
		s.putSpare(d, id.Deployment, at)
		return nil
	}
	s.dropSpare(d, id.Deployment)
	if ok {
		return d.pairs[i]
	}
	return s.insert(d, i, id.Deployment)
}

func (s *State) putSpare(d *device, name fleet.DeploymentName, at Origin) {
	r := d.spares[name]
	if r == nil {
		r = &spare{device: d, name: fleet.DeploymentName(strings.Clone(string(name)))}
		if d.spares == nil {
			d.spares = map[fleet.DeploymentName]*spare{}
		}
		d.spares[r.name] = r
	}
	r.at = originOf(at)
	s.orphans.admit(&r.unclaimed, r, true)
}

func (s *State) dropSpare(d *device, name fleet.DeploymentName) {
	r := d.spares[name]
	if r == nil {
		return
	}
	s.orphans.admit(&r.unclaimed, r, false)
	delete(d.spares, name)
	if len(d.spares) == 0 {
		d.spares = nil // a map never shrinks
	}
}

// claimSpare notes whether the pair of a report that is not kept is desired: then it is no orphan.
func (s *State) claimSpare(p *pair) {
	if r := p.device.spares[p.deployment.name]; r != nil {
		s.orphans.admit(&r.unclaimed, r, p.wish == nil)
	}
}

// ReportsOf yields where each report of a device stands that is in view, in no order: also of those that are
// not kept.
func (s *State) ReportsOf(id fleet.DeviceID) iter.Seq2[fleet.Pair, Origin] {
	return func(yield func(fleet.Pair, Origin) bool) {
		d := s.devices[id]
		if d == nil {
			return
		}
		for _, p := range d.pairs {
			if p.reportAt.inView() && !yield(p.id(), p.reportAt.export()) {
				return
			}
		}
		for _, r := range d.spares {
			if !yield(r.id(), r.at.export()) {
				return
			}
		}
	}
}
