package invariant

import (
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

const (
	// retrySlack is how long a batch may be repeated that collides with other writes (package kv).
	retrySlack = 10 * time.Second
	// planSlack is how old the mirror may be that a reconciler writes by: what it takes to see a change and to
	// plan, and as long as the batch may be repeated.
	planSlack = 3*time.Second + retrySlack
	// mirrorSlack is how far the mirror may lie behind the apiserver while a patcher vouches for it: as long as it
	// keeps its lease out of sight of the apiserver, and then some.
	mirrorSlack = 30 * time.Second
)

// mayBelieve reports whether a reconciler that wrote an operation on the key of a pair may have gone by a state
// of the two resources for which something holds. It goes by the mirror, as that was at any moment within
// [planSlack] before the operation, or before that when a reconciler was stopped meanwhile. What the apiserver had
// counts as well, as the mirror may have been read late; where messages of the mirror were not seen, anything that
// the apiserver had up to [mirrorSlack] before may have stood in them.
func (h *history) mayBelieve(pair fleet.Pair, o *operation, holds func(p, d state) bool) bool {
	from, to := h.planned(o), o.at.Add(deliverySlack)
	if h.lost(fleet.BucketResources, from, to.Add(lossSlack)) || h.mayMirror(pair, from, to, holds) {
		return true
	}
	if !h.complete(fleet.BucketResources, from, to) {
		from = from.Add(-mirrorSlack)
	}
	return h.api.mayBe(pair, from, to, holds)
}

// planned is the time from which on a reconciler may have planned an operation.
func (h *history) planned(o *operation) time.Time {
	return h.before(fleet.ServiceReconciler, earlier(o.stamp(), o.at), planSlack)
}

// mayMirror reports whether the mirror may have had a pair in a certain state in a time.
func (h *history) mayMirror(pair fleet.Pair, from, to time.Time, holds func(p, d state) bool) bool {
	mirror := h.mirror()
	p, d := keysOf(pair)
	if (mirror[p] == nil || mirror[d] == nil) && !h.complete(fleet.BucketResources, time.Time{}, to) {
		return true
	}
	return mirror.mayBe(pair, from, to, holds)
}

// mayBe reports whether something may have held of the two resources of a pair at some moment of a time. A
// resource of which nothing was ever said was never there.
func (l lines) mayBe(pair fleet.Pair, from, to time.Time, holds func(p, d state) bool) bool {
	deployment, device := keysOf(pair)
	for _, p := range l.of(deployment).during(from, to) {
		for _, d := range l.of(device).during(from, to) {
			if p.unsure || d.unsure || holds(p, d) {
				return true
			}
		}
	}
	return false
}

func (l lines) of(key string) line {
	if l[key] == nil {
		return line{{}}
	}
	return l[key]
}

// keysOf returns the keys of a pair's resources in [lines].
func keysOf(pair fleet.Pair) (deployment, device string) {
	return lineOf(fleet.KindDeployment, string(pair.Deployment)), lineOf(fleet.KindDevice, string(pair.Device))
}

// applied is an "_applied" record and the operation that wrote it.
type applied struct {
	*operation
	fleet.Applied
}

// records are the applied records as they stand at some place in a stream. There is none of a Deployment whose
// record somebody else wrote or deleted: what a reconciler then goes by is not known.
type records map[fleet.DeploymentName]applied

// take takes in an operation, and reports whether it is on the record of a Deployment.
func (r records) take(o *operation) bool {
	name, is := fleet.ParseAppliedKey(o.Key)
	if !is {
		return false
	}
	delete(r, name)
	if a, err := fleet.DecodeApplied([]byte(o.Value)); err == nil && o.own && o.Kind == record.OpPut {
		r[name] = applied{o, a}
	}
	return true
}
