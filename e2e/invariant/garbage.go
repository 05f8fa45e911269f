package invariant

import (
	"strings"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

const (
	// sweepSlack is how old the view may be that the aggregator deletes by: what it takes to see a change, to
	// decide, and to delete as many keys as it does at once.
	sweepSlack = 15 * time.Second
	// orphanSlack is by how much the server's stamps and the aggregator's own time may differ.
	orphanSlack = 2 * time.Second
	// handSlack is how long it may take until keys are deleted by hand, after a fault said that they will be.
	handSlack = 30 * time.Second
)

// garbage: of the deletes in the agents' buckets, device-info, device-state and device-heartbeat,
//
//   - none is made while a "_hold" stands in desired-state, approved or not;
//   - none is of a report on a pair that desired-state has, or of the info or heartbeat of a device on which it has any;
//   - each is of a device that leaves, or of an orphan. A device leaves when the mirror says that it is being deleted, or
//     has a tombstone that is not older than the key. A report is an orphan since its pair is not desired, an info
//     or heartbeat since moreover no Device is in the mirror; each must have been for as long as "--orphan-after" says, the
//     least of all aggregators that were started.
//
// (Design, section 5, Registration and garbage; package garbage of the aggregator.)
//
// Agents delete nothing, so all deletes are the aggregator's but those by hand: of each key that a fault "lost-keys" names
// the first delete after it. What the aggregator goes by may be [sweepSlack] old, or older when it was stopped
// meanwhile: what forbids a delete must have held all that time, and what allows it at any moment of it. Where messages
// of the mirror were not seen, or it was lost, every device may leave. That the mirror was whole is not judged: its
// readers need any "_synced", however old. Nor is that a heartbeat which is an orphan is of a device that is silent.
func garbage(h *history) []Violation {
	var found []Violation
	g := sweeping{h: h, orphanAfter: orphanFlag(h.events), byHand: h.removedByHand(), desired: h.desiredKeys()}
	for _, bucket := range deviceBuckets() {
		for _, s := range h.streams[bucket] {
			found = append(found, g.judge(s)...)
		}
	}
	return found
}

func deviceBuckets() []string {
	return []string{fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat}
}

// orphanFlag returns the least patience with orphans of all aggregators that were started.
func orphanFlag(events record.Recording) time.Duration {
	least := time.Hour
	for _, args := range startedWith(events, fleet.ServiceAggregator) {
		if d, err := time.ParseDuration(flag(args, "orphan-after")); err == nil {
			least = min(least, d)
		}
	}
	return least
}

// sweeping is what the deletes of the aggregator are judged by.
type sweeping struct {
	h           *history
	orphanAfter time.Duration
	byHand      removals
	desired     map[fleet.DeviceID][]string // the keys that desired-state ever had
}

// judge follows one incarnation of a bucket of the agents'.
func (g *sweeping) judge(s *stream) []Violation {
	var found []Violation
	left := map[string]leftover{}
	for i := range s.ops {
		o := &s.ops[i]
		l, is := left[o.Key]
		if is && o.Kind == record.OpDelete && !g.byHand.take(o) {
			if why := g.isKept(o, l); why != "" {
				found = append(found, violation(o.event, "%s was deleted at revision %d, %s", o.Key, o.Revision, why))
			}
		}
		if l, is = l.after(o); is {
			left[o.Key] = l
		} else {
			delete(left, o.Key)
		}
	}
	return found
}

// leftover is a key of the agents' buckets that has a value.
type leftover struct {
	device     fleet.DeviceID
	deployment fleet.DeploymentName // of a report
	since      time.Time            // when it got a value; zero when that may not have been seen
	stamp      time.Time            // of its value
}

// after returns what an operation leaves of a key; ok is false for nothing, and for what is not of the contract.
func (l leftover) after(o *operation) (left leftover, ok bool) {
	if l.device == "" {
		if l.device, l.deployment = ownerOf(o.Bucket, o.Key); o.unseen == 0 {
			l.since = o.stamp()
		}
	}
	l.stamp = o.stamp()
	return l, l.device != "" && o.Kind == record.OpPut
}

// ownerOf returns the device of a key of the agents' buckets, and of a report the Deployment; "" when it is illegal.
func ownerOf(bucket, key string) (id fleet.DeviceID, of fleet.DeploymentName) {
	var pair fleet.Pair
	var err error
	switch bucket {
	case fleet.BucketDeviceInfo:
		pair.Device, err = fleet.ParseInfoKey(key)
	case fleet.BucketDeviceHeartbeat:
		pair.Device, err = fleet.ParseHeartbeatKey(key)
	default:
		pair, err = fleet.ParseStateKey(key)
	}
	if err != nil {
		return "", ""
	}
	return pair.Device, pair.Deployment
}

// isKept says why a key was not to be deleted, "" when it may have been garbage.
func (g *sweeping) isKept(o *operation, l leftover) string {
	from, to := g.h.before(fleet.ServiceAggregator, o.stamp(), sweepSlack), o.stamp().Add(vouchSlack)
	if g.h.stood(fleet.KeyHold, from, to) {
		return "while a hold stood"
	}
	since := l.since // it may be an orphan
	for _, key := range g.claims(l) {
		if g.h.stood(key, from, to) {
			return text("while desired-state had %s", key)
		}
		since = later(since, g.h.hadUntil(key, o.stamp()))
	}
	if l.deployment == "" {
		since = later(since, g.h.registeredUntil(l.device, o.stamp()))
	}
	age := o.stamp().Sub(since)
	if age >= g.orphanAfter-orphanSlack || g.h.mayLeave(l, from, to) {
		return ""
	}
	return text("though %s did not leave, and the key was no orphan for more than %s", l.device, max(age, 0).Round(time.Second))
}

// claims returns the keys of desired-state because of which a key is no garbage: of a report that of the pair, else all
// of the device.
func (g *sweeping) claims(l leftover) []string {
	if l.deployment == "" {
		return g.desired[l.device]
	}
	return []string{fleet.DesiredKey(fleet.Pair{Device: l.device, Deployment: l.deployment})}
}

// mayLeave reports whether the aggregator may have taken the device of a key for one that leaves.
func (h *history) mayLeave(l leftover, from, to time.Time) bool {
	if h.lost(fleet.BucketResources, from, to.Add(lossSlack)) || !h.complete(fleet.BucketResources, time.Time{}, to) {
		return true
	}
	for _, s := range h.mirror().of(lineOf(fleet.KindDevice, string(l.device))).during(from, to) {
		entombed := s.is == nil && s.gone != "" && !l.stamp.After(s.from.Add(vouchSlack))
		if s.unsure || entombed || s.is != nil && s.is.deleting {
			return true
		}
	}
	return false
}

// registeredUntil returns until when, up to a time, the mirror had a Device; zero when it never had.
func (h *history) registeredUntil(id fleet.DeviceID, at time.Time) time.Time {
	var until time.Time
	states := h.mirror().of(lineOf(fleet.KindDevice, string(id))).during(time.Time{}, at)
	for i, s := range states {
		switch {
		case s.is == nil:
		case i+1 < len(states):
			until = states[i+1].from
		default:
			until = at
		}
	}
	return until
}

// desiredKeys returns the keys that desired-state ever had, by device.
func (h *history) desiredKeys() map[fleet.DeviceID][]string {
	all := map[fleet.DeviceID][]string{}
	for key := range h.desiredOps() {
		if pair, err := fleet.ParseDesiredKey(key); err == nil {
			all[pair.Device] = append(all[pair.Device], key)
		}
	}
	return all
}

// stood reports whether a key of desired-state had a value all the time.
func (h *history) stood(key string, from, to time.Time) bool {
	var before *operation
	ops := h.desiredOps()[key]
	for i := range ops {
		o := &ops[i]
		if earlier(o.stamp(), o.at).After(to) {
			break
		}
		if o.at.After(from) && o.Kind != record.OpPut {
			return false
		}
		if !o.at.After(from) {
			before = o
		}
	}
	return before != nil && before.Kind == record.OpPut && !h.lost(fleet.BucketDesiredState, before.at.Add(-writeSlack), to.Add(lossSlack))
}

// hadUntil returns when a key of desired-state was deleted last before a time; zero when it never was.
func (h *history) hadUntil(key string, at time.Time) time.Time {
	var until time.Time
	had := false
	for _, o := range h.desiredOps()[key] {
		if o.stamp().After(at) {
			break
		}
		if had && o.Kind != record.OpPut {
			until = o.stamp()
		}
		had = o.Kind == record.OpPut
	}
	return until
}

// removals are the deletes by hand that are still to come, by bucket and key: when they were announced.
type removals map[written][]time.Time

func (h *history) removedByHand() removals {
	all := removals{}
	for _, e := range h.events {
		if e.Fault == nil || e.Fault.Name != "lost-keys" || e.Fault.Healed {
			continue
		}
		bucket, keys, _ := strings.Cut(e.Fault.Target, ": ")
		for _, key := range strings.Fields(keys) {
			k := written{bucket: bucket, key: key}
			all[k] = append(all[k], e.At)
		}
	}
	return all
}

// take reports whether a delete is one by hand.
func (r removals) take(o *operation) bool {
	k := written{bucket: o.Bucket, key: o.Key}
	if times := r[k]; len(times) > 0 && !o.at.Before(times[0]) {
		r[k] = times[1:]
		return o.at.Sub(times[0]) <= handSlack
	}
	return false
}
