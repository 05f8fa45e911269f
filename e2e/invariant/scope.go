package invariant

import (
	"maps"
	"slices"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// doubtWait is how long a doubtful delete waits for a quiet mirror, and a bit: the brake's longest wait is 60 s.
const doubtWait = 75 * time.Second

// scope: at rest with every service ready, the keys of desired-state are those of the pairs in scope, and each
// value is [fleet.EncodeDesired] of the Deployment's uid and score. A pair is in scope when the labels of the
// Device match the selector of the Deployment, neither is being deleted, the Device is not quarantined and the
// Deployment can be applied. (Design, sections 1 and 5.)
//
// Exempt are
//
//   - all keys of a Deployment whose status is Stalled with reason Held or Invalid, which cannot be applied, or
//     which lacks the finalizer without which it is not mirrored; and of a Device that lacks its finalizers, those
//     of a pair neither side of which puts it out of scope;
//   - a key too many whose delete is doubtful (fleet.Cause.Doubtful: the resource is gone, has another uid or a
//     lower generation, or the Device has other labels) while a hold is in place, or until [doubtWait] after the
//     last thing for which such deletes wait: that change, a start of a process, a fault, a found stream. Not so
//     when the reconciler itself wrote it although one of the resources was never there;
//   - keys that are not of the contract, which nobody touches.
func scope(h *history) []Violation {
	var found []Violation
	for _, p := range h.pictures() {
		for _, name := range p.names() {
			found = append(found, h.lacking(p, p.deployments[name])...)
		}
		for _, pair := range slices.SortedFunc(maps.Keys(p.desired), fleet.Pair.Compare) {
			if h.isTooMany(p, pair) {
				found = append(found, violation(p.event, "%s is in desired-state at rest, but the pair is not in scope", pair))
			}
		}
	}
	return found
}

// lacking returns the pairs of a Deployment that are in scope without the right key.
func (h *history) lacking(p *picture, d *shown) []Violation {
	if d.standsStill() {
		return nil
	}
	var found []Violation
	for _, id := range slices.Sorted(maps.Keys(p.devices)) {
		if id.Validate() != nil || placeOf(d.resource, p.devices[id]) != inside {
			continue
		}
		pair := fleet.Pair{Device: id, Deployment: d.name}
		switch e, ok := p.desired[pair]; {
		case h.regressed(p, d.name):
		case !ok:
			found = append(found, violation(p.event, "%s is not in desired-state at rest, but the pair is in scope", pair))
		case e.Value != d.target.value:
			found = append(found, violation(p.event, "%s is not the canonical value at rest: %.200q instead of %.200q", pair, e.Value, d.target.value))
		}
	}
	return found
}

// isTooMany reports whether the key of a pair ought not to be there.
func (h *history) isTooMany(p *picture, pair fleet.Pair) bool {
	d := p.deployments[pair.Deployment]
	if placeOf(p.of(pair.Deployment), p.devices[pair.Device]) != outside || d != nil && d.standsStill() {
		return false
	}
	if certain(p.of(pair.Deployment), p.devices[pair.Device]) {
		return true
	}
	if h.isInvented(pair) {
		return true
	}
	doubt, is := h.doubt(pair, p.of(pair.Deployment), p.at)
	return !is || !h.held(p.event) && h.lastStir(p.event, doubt).Add(doubtWait).Before(p.at)
}

// isInvented reports whether the reconciler itself wrote a key of a pair that never had both its resources.
func (h *history) isInvented(pair fleet.Pair) bool {
	ops := h.desiredOps()[fleet.DesiredKey(pair)]
	p, d := h.api[lineOf(fleet.KindDeployment, string(pair.Deployment))], h.api[lineOf(fleet.KindDevice, string(pair.Device))]
	return (p == nil || d == nil) && len(ops) > 0 && ops[len(ops)-1].own && ops[len(ops)-1].stamp().After(h.events[0].At)
}

// certain reports whether a person's wish alone puts a pair out of scope: no brake holds its delete back.
func certain(p, d *resource) bool {
	return p != nil && p.deleting || d != nil && (d.deleting || d.quarantined)
}

// regressed reports whether a Deployment may have come back with a lower generation: its puts wait like deletes.
func (h *history) regressed(p *picture, name fleet.DeploymentName) bool {
	at, is := h.api[lineOf(fleet.KindDeployment, string(name))].last(p.at, func(before, now *resource) bool {
		return before != nil && now != nil && before.uid == now.uid && before.generation > now.generation
	})
	return is && (h.held(p.event) || !h.lastStir(p.event, at).Add(doubtWait).Before(p.at))
}

// doubt returns when the last change came that makes the delete of a pair's key doubtful: either resource went,
// the Deployment came to be another or an older one, or the Device lost the labels that matched. It may also be
// that nothing was ever known of one of them.
func (h *history) doubt(pair fleet.Pair, p *resource, until time.Time) (time.Time, bool) {
	deployment := h.api[lineOf(fleet.KindDeployment, string(pair.Deployment))]
	device := h.api[lineOf(fleet.KindDevice, string(pair.Device))]
	a, changed := deployment.last(until, func(before, now *resource) bool {
		return now == nil || before != nil && (before.uid != now.uid || before.generation > now.generation)
	})
	b, relabelled := device.last(until, func(before, now *resource) bool {
		return now == nil || before != nil && p != nil && p.target.matcher.Matches(before.labels)
	})
	return later(a, b), changed || relabelled || deployment == nil || device == nil
}

// last returns when a resource last changed in a certain way, or may have.
func (l line) last(until time.Time, is func(before, now *resource) bool) (at time.Time, found bool) {
	for i := 1; i < len(l) && !l[i].from.After(until); i++ {
		first := i == 1 && l[0].unsure
		if l[i].unsure || !first && is(l[i-1].is, l[i].is) {
			at, found = l[i].from, true
		}
	}
	return at, found
}

// held reports whether a hold was in place before an event.
func (h *history) held(event int) bool {
	ops := h.desiredOps()[fleet.KeyHold]
	held := false
	for _, o := range ops {
		if o.event < event {
			held = o.Kind == record.OpPut
		}
	}
	return held
}

// lastStir returns when something last happened, from a time on, for which doubtful deletes wait anew.
func (h *history) lastStir(event int, from time.Time) time.Time {
	for i := event - 1; i >= 0 && h.events[i].At.After(from); i-- {
		e := h.events[i]
		if e.Process != nil || e.Fault != nil || e.Stream != nil && e.Stream.Kind == record.StreamFound {
			return e.At
		}
	}
	return from
}
