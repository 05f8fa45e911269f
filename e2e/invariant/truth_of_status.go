package invariant

import (
	"maps"
	"slices"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// truthOfStatus: at rest with every service ready, the status of each Deployment is the fold of the desired keys
// and the last reports (design, section 3; package projection of the aggregator):
//
//   - matched is the number of the Deployment's keys in desired-state. That those are the pairs in scope is what
//     scope says.
//   - running with staleLastKnown.running is the number of its pairs whose report says Running with the hash of
//     the very value of the key, which is fenced and of the Deployment's uid; likewise failed. All others are
//     pending: no report, one about another value, a value that cannot be trusted.
//   - stale is the sum of staleLastKnown. Which devices are stale is judged by silence-means-stale.
//   - lastError is of a pair that failed, of the one with the greatest time and name when none of those is stale,
//     and missing iff failed is 0.
//   - Ready is True when the generation is observed, nothing failed or is pending, each stale pair ran at last,
//     and the Deployment is not Stalled as Held or Invalid.
//
// Exempt are Deployments that are being deleted or lack the finalizer, as the mirror then says something older.
// A rest at which any entry is malformed is judged by poison-isolation.
func truthOfStatus(h *history) []Violation { return h.countsAtRest(false) }

// poisonIsolation: at rest with every service ready while some entry of the buckets is malformed, a status counts
// as truth-of-status has it, except that a pair whose own report is malformed counts as pending or as any earlier
// good report had it: the aggregator keeps the last good one as long as it lives. (Design, section 4: a malformed
// value or illegal key changes only its own entry.)
func poisonIsolation(h *history) []Violation { return h.countsAtRest(true) }

func (h *history) countsAtRest(poisoned bool) []Violation {
	var found []Violation
	unfenced := h.unfenced()
	for _, p := range h.pictures() {
		if p.poisoned != poisoned {
			continue
		}
		folds := p.fold(unfenced)
		for _, name := range p.names() {
			d := p.deployments[name]
			if d.deleting || !d.carried {
				continue
			}
			if !d.hasStatus || d.err != nil {
				found = append(found, violation(p.event, "Deployment %s has no status that can be read at rest: %.200q", name, d.err))
				continue
			}
			f := folds[name]
			if f == nil {
				f = &fold{}
			}
			for _, message := range f.differs(d) {
				found = append(found, violation(p.event, "status of Deployment %s at rest: %s", name, message))
			}
		}
	}
	return found
}

// unfenced returns the puts to desired-state that carry no epoch.
func (h *history) unfenced() map[written]bool {
	all := map[written]bool{}
	for _, s := range h.streams[fleet.BucketDesiredState] {
		for _, o := range s.ops {
			if o.Epoch == 0 && o.Kind == record.OpPut {
				all[written{s.bucket, o.Key, o.Revision}] = true
			}
		}
	}
	return all
}

// isPoisoned reports whether any entry is not of the contract.
func isPoisoned(rest *record.Rest) bool {
	for bucket, entries := range rest.Keys {
		for key, e := range entries {
			if isPoison(bucket, key, []byte(e.Value)) {
				return true
			}
		}
	}
	return false
}

func isPoison(bucket, key string, value []byte) bool {
	var err error
	switch bucket {
	case fleet.BucketDesiredState:
		if _, err = fleet.ParseDesiredKey(key); err == nil {
			_, err = fleet.DecodeDesired(value)
		}
	case fleet.BucketDeviceState:
		if _, err = fleet.ParseStateKey(key); err == nil {
			_, err = fleet.DecodeReport(value)
		}
	case fleet.BucketDeviceInfo:
		if _, err = fleet.ParseInfoKey(key); err == nil {
			_, err = fleet.DecodeInfo(value)
		}
	case fleet.BucketResources:
		var name fleet.ResourceKey
		switch name, err = fleet.ParseResourceKey(key); {
		case err != nil:
		case name.Device != "":
			_, err = fleet.DecodeMirrorDevice(value)
		default:
			_, err = fleet.DecodeMirrorDeployment(value)
		}
	}
	return err != nil && !fleet.IsReserved(key)
}

// fold is what the pairs of a Deployment count as, stale or not.
type fold struct {
	matched, running, failed, pending int
	open                              int // pairs of which it cannot be said
	failures                          []fleet.LastError
}

// fold folds the desired keys and reports.
func (p *picture) fold(unfenced map[written]bool) map[fleet.DeploymentName]*fold {
	all := map[fleet.DeploymentName]*fold{}
	reports := p.rest.Keys[fleet.BucketDeviceState]
	for _, pair := range slices.SortedFunc(maps.Keys(p.desired), fleet.Pair.Compare) {
		f := all[pair.Deployment]
		if f == nil {
			f = &fold{}
			all[pair.Deployment] = f
		}
		e := p.desired[pair]
		trusted := !unfenced[written{fleet.BucketDesiredState, fleet.DesiredKey(pair), e.Revision}]
		f.add(pair, p.of(pair.Deployment), e.Value, trusted, reports)
	}
	return all
}

func (f *fold) add(pair fleet.Pair, of *resource, value string, trusted bool, reports map[string]record.Entry) {
	f.matched++
	entry, reported := reports[fleet.StateKey(pair)]
	d, err := fleet.DecodeDesired([]byte(value))
	if !reported || !trusted || err != nil || of != nil && d.UID != of.uid {
		f.pending++
		return
	}
	r, err := fleet.DecodeReport([]byte(entry.Value))
	switch {
	case err != nil:
		f.open++
	case r.ObservedHash != fleet.Hash([]byte(value)) || r.Phase == fleet.PhasePending:
		f.pending++
	case r.Phase == fleet.PhaseRunning:
		f.running++
	default:
		f.failed++
		f.failures = append(f.failures, fleet.LastError{Device: pair.Device, Message: fleet.ClipError(r.LastError), At: r.EventTime()})
	}
}

// differs says what in a status is not what the fold says.
func (f *fold) differs(d *shown) []string {
	a := d.status.Aggregate
	last := a.StaleLastKnown
	var found []string
	if a.MatchedDeviceCount != f.matched {
		found = append(found, text("matched is %d, desired-state has %d keys", a.MatchedDeviceCount, f.matched))
	}
	for _, c := range []struct {
		what        string
		says, folds int
	}{
		{"running", a.Running + last.Running, f.running},
		{"failed", a.Failed + last.Failed, f.failed},
		{"pending", a.Pending + last.Pending, f.pending},
	} {
		switch {
		case c.says >= c.folds && c.says <= c.folds+f.open:
		case f.open > 0:
			found = append(found, text("%s is %d with the stale ones, the reports make it %d to %d", c.what, c.says, c.folds, c.folds+f.open))
		default:
			found = append(found, text("%s is %d with the stale ones, the reports make it %d", c.what, c.says, c.folds))
		}
	}
	if sum := last.Running + last.Failed + last.Pending; a.Stale != sum {
		found = append(found, text("stale is %d, the last known are %d", a.Stale, sum))
	}
	if f.open == 0 && !f.explains(a) {
		found = append(found, text("lastError is %s, which is not of the pair that failed last", shownError(a.LastError)))
	}
	if !d.standsStill() && d.status.ObservedGeneration == d.generation && a.Failed+a.Pending == 0 && a.Stale == last.Running &&
		conditionOf(&d.status, fleet.ConditionReady).Status != fleet.ConditionTrue {
		found = append(found, "Ready is not True, but nothing is missing")
	}
	return found
}

// explains reports whether the error that is shown is that of the pair that failed last. Of which of them
// are stale, and so do not count, only the number is known.
func (f *fold) explains(a fleet.Aggregate) bool {
	e := a.LastError
	if a.Failed == 0 || e == nil {
		return a.Failed == 0 && e == nil
	}
	newer, known := 0, false
	for _, o := range f.failures {
		c := o.At.Compare(e.At)
		if c > 0 || c == 0 && o.Device > e.Device {
			newer++
		}
		known = known || c == 0 && o.Device == e.Device && o.Message == e.Message
	}
	return known && newer <= a.StaleLastKnown.Failed
}

func shownError(e *fleet.LastError) string {
	if e == nil {
		return "missing"
	}
	return text("%q of %s at %s", e.Message, e.Device, e.At.Format(time.RFC3339))
}
