package plan

import (
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// pair is one Deployment on one device: stored, in scope, or both.
type pair struct {
	deployment *deployment
	device     *device
	scope      scope
	action     action
	foreign    bool   // the stored value carries no epoch: not ours
	stored     *Value // nil means no key
	revision   uint64 // of the stored value
}

func (x *pair) name() fleet.Pair {
	return fleet.Pair{Device: x.device.id, Deployment: x.deployment.name}
}

// scope says whether a pair is to have a key.
type scope uint8

const (
	outside scope = iota // it is to have none
	inside               // it is to have the Deployment's value
	keep                 // it cannot be said: the key stays as it is
)

// scopeOf judges a pair. Either side alone can put it out of scope; else both must be known.
func scopeOf(p *deployment, d *device) scope {
	switch {
	case p.out() || d.out():
		return outside
	case p.presence == unknown || d.presence == unknown || p.invalid != "" || d.invalid:
		return keep
	case p.matcher.Matches(d.labels):
		return inside
	}
	return outside
}

// action is what a pair's key needs.
type action uint8

const (
	nothing action = iota
	put
	remove
)

// actionOf compares what is stored with what is wanted.
func actionOf(x *pair) action {
	switch {
	case x.scope == inside && (x.stored == nil || x.foreign || x.stored != x.deployment.value):
		return put
	case x.scope == outside && x.stored != nil:
		return remove
	}
	return nothing
}

// link returns the pair of p and d and makes it if need be.
func link(p *deployment, d *device) *pair {
	x := p.pairs[d]
	if x == nil {
		x = &pair{deployment: p, device: d}
		p.pairs[d] = x
		i, _ := d.find(p.name)
		d.pairs = slices.Insert(d.pairs, i, x)
	}
	return x
}

// unlink forgets a pair.
func unlink(x *pair) {
	p, d := x.deployment, x.device
	delete(p.pairs, d)
	agree(x)
	if i, ok := d.find(p.name); ok {
		d.pairs = slices.Delete(d.pairs, i, i+1)
	}
}

func (d *device) find(name fleet.DeploymentName) (int, bool) {
	return slices.BinarySearchFunc(d.pairs, name, func(x *pair, name fleet.DeploymentName) int {
		return strings.Compare(string(x.deployment.name), string(name))
	})
}

// judge brings a pair up to date after either side or the stored value has changed. A pair that is
// neither stored nor in scope is forgotten.
func judge(x *pair, at time.Time) {
	x.scope = scopeOf(x.deployment, x.device)
	if x.stored == nil && x.scope != inside {
		unlink(x)
		return
	}
	switch a := actionOf(x); a {
	case x.action:
	case nothing:
		x.action = a
		agree(x)
	default:
		x.action = a
		if x.deployment.differing == nil {
			x.deployment.differing = map[*pair]time.Time{}
		}
		x.deployment.differing[x] = at
	}
}

// agree notes that a pair differs no more. An emptied map is given back: going through it would cost
// what it once held.
func agree(x *pair) {
	p := x.deployment
	if delete(p.differing, x); len(p.differing) == 0 {
		p.differing = nil
	}
}
