package invariant

import (
	"maps"
	"slices"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// settleSlack is how long a pair must have been in scope before a generation was applied to count as part of it.
const settleSlack = 5 * time.Second

// readyMeansApplied: when a write makes a status say Ready=True at observedGeneration g,
//
//   - desired-state has had an "_applied.<deployment>" of the Deployment's uid with a generation of at least g;
//   - every pair that was in scope at g all the time from [settleSlack] before the last such record until the write,
//     at the apiserver and in the mirror, has its key, with the canonical value of g or of a later generation.
//
// (Design, section 5, step 5. A device that came into scope only after g was applied does not count: Ready then
// still says of g what it said before.)
//
// Nothing is concluded from what was not seen, nor about keys when either bucket was lost meanwhile or somebody
// else wrote to the key. Only the writes with which Ready becomes True, or does so for another generation, are judged,
// and the keys only with the first after each record.
func readyMeansApplied(h *history) []Violation {
	var found []Violation
	ready := map[string]int64{} // by uid: the generation that is Ready
	judged := map[string]int{}  // by uid: the event of the record that was judged last
	for i := range h.statuses {
		s := &h.statuses[i]
		if s.err != nil {
			continue
		}
		before, was := ready[s.write.UID]
		delete(ready, s.write.UID)
		if conditionOf(&s.status, fleet.ConditionReady).Status != fleet.ConditionTrue {
			continue
		}
		g := s.status.ObservedGeneration
		ready[s.write.UID] = g
		if s.changed && (!was || before != g) {
			found = append(found, h.readyAt(s, g, judged)...)
		}
	}
	return found
}

func (h *history) readyAt(s *statusWrite, g int64, judged map[string]int) []Violation {
	until := s.at.Add(deliverySlack)
	applied, ok := h.applied(s.write, g, until)
	if !ok {
		if !h.complete(fleet.BucketDesiredState, h.since(s.write, g), until) {
			return nil
		}
		return []Violation{violation(s.event, "Deployment %s is Ready at generation %d, which desired-state never had as applied", s.write.Name, g)}
	}
	if event, was := judged[s.write.UID]; was && event == applied.event {
		return nil
	}
	judged[s.write.UID] = applied.event
	return h.keysAt(s, g, applied)
}

// keysAt judges the keys of a Deployment when a status says that a generation is Ready.
func (h *history) keysAt(s *statusWrite, g int64, applied operation) []Violation {
	from, until := h.before(fleet.ServiceReconciler, applied.at, settleSlack), s.at.Add(deliverySlack)
	goal := h.targets.generated[s.write.UID][g]
	if goal == nil || goal.invalid || !h.complete(fleet.BucketDesiredState, h.since(s.write, g), until) ||
		h.lost(fleet.BucketDesiredState, from, until) || h.lost(fleet.BucketResources, from, until) {
		return nil
	}
	var found []Violation
	for _, id := range h.deviceNames() {
		pair := fleet.Pair{Device: id, Deployment: fleet.DeploymentName(s.write.Name)}
		if h.isMeant(goal, id, from, s.at) && !h.hasKey(pair, s, g, until) {
			found = append(found, violation(s.event, "Deployment %s is Ready at generation %d, but %s has no key with its value", s.write.Name, g, pair))
		}
	}
	return found
}

// since returns from when on a generation of a Deployment can have been written, zero when that is not known.
func (h *history) since(w *record.Write, g int64) time.Time {
	for i, s := range h.api[lineOf(fleet.KindDeployment, w.Name)] {
		if s.is != nil && s.is.uid == w.UID && s.is.generation >= g && i > 0 {
			return s.from.Add(-settleSlack)
		}
	}
	return time.Time{}
}

// applied returns the last record of a generation or a later one.
func (h *history) applied(w *record.Write, g int64, until time.Time) (operation, bool) {
	ops := h.desiredOps()[fleet.AppliedKey(fleet.DeploymentName(w.Name))]
	for i := seenBy(ops, until) - 1; i >= 0; i-- {
		if ops[i].applies(w.UID, g) {
			return ops[i], true
		}
	}
	for _, o := range ops { // read late
		if !o.stamp().After(until) && o.applies(w.UID, g) {
			return o, true
		}
	}
	return operation{}, false
}

// applies reports whether an operation records a generation of a Deployment, or a later one, as applied.
func (o *operation) applies(uid string, g int64) bool {
	if o.Kind != record.OpPut {
		return false
	}
	a, err := fleet.DecodeApplied([]byte(o.Value))
	return err == nil && a.UID == uid && a.Generation >= g
}

// deviceNames returns every device that the mirror ever had.
func (h *history) deviceNames() []fleet.DeviceID {
	if h.devices == nil {
		h.devices = []fleet.DeviceID{}
		for _, key := range slices.Sorted(maps.Keys(h.mirror())) {
			if kind, name := splitLine(key); kind == fleet.KindDevice {
				h.devices = append(h.devices, fleet.DeviceID(name))
			}
		}
	}
	return h.devices
}

// isMeant reports whether a device was one that a target means all the time, at the apiserver and in the mirror.
func (h *history) isMeant(goal *target, id fleet.DeviceID, from, to time.Time) bool {
	key := lineOf(fleet.KindDevice, string(id))
	for _, l := range []line{h.api[key].during(from, to), h.mirror()[key].during(from, to)} {
		if len(l) == 0 {
			return false
		}
		for _, s := range l {
			if s.unsure || placeOf(&resource{carried: true, target: goal}, s.is) != inside {
				return false
			}
		}
	}
	return true
}

// hasKey reports whether the key of a pair had, shortly before or after a status, a value of a generation or a
// later one, or may have.
func (h *history) hasKey(pair fleet.Pair, s *statusWrite, g int64, until time.Time) bool {
	ops := h.desiredOps()[fleet.DesiredKey(pair)]
	for _, o := range slices.Backward(ops[:seenBy(ops, until)]) {
		if !o.own || o.Kind == record.OpPut && h.isGeneration(s.write.UID, g, o.Value) {
			return true
		}
		if o.at.Before(s.at.Add(-settleSlack)) {
			return false
		}
	}
	return false
}

// isGeneration reports whether a value is that of a generation of a Deployment, or of a later one.
func (h *history) isGeneration(uid string, g int64, value string) bool {
	for n, t := range h.targets.generated[uid] {
		if n >= g && t.value == value {
			return true
		}
	}
	return false
}
