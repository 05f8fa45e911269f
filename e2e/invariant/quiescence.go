package invariant

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// quiescence: from a rest with every service ready until something happens, there is no fenced operation, and no
// write of a status. Only what holders do to stay or become such is none: on "_lease" and "_epoch", and a
// "_synced" that is another one, as it names the epoch that was taken since. (Invariants: inputs stable, then silence.)
//
// What happens: any other write to a resource, a fault, a process event, an event of a stream, an operation without
// an epoch except a heartbeat and an info or report that says what it said before, an acknowledged write of the
// scenario. What the services do by the clock is no breach, and ends the time too: a doubtful delete, or a hold that
// is another one than before, which waited for a quiet mirror, and a status that changes because a device fell
// silent or is heard of again. A "_hold" or "_synced" counts as another one when messages of its bucket were not seen
// since the one before it.
//
// What is recorded within [deliverySlack] after a breach may have been its cause. Of each time only the first
// breach is reported.
func quiescence(h *history) []Violation {
	q := silence{resources: map[string]*record.Write{}, values: map[written]string{}, kept: map[written]string{}}
	for i, e := range h.events {
		q.settle(e.At)
		q.apply(i, e)
	}
	if q.breach != nil && h.end.Sub(q.at) >= deliverySlack {
		q.found = append(q.found, *q.breach)
	}
	return q.found
}

// silence is the time since a rest.
type silence struct {
	open      bool
	since     time.Time
	versions  map[string]string // of the resources at the rest
	resources map[string]*record.Write
	values    map[written]string // of the agents' keys
	kept      map[written]string // of those of the services that begin with "_"
	breach    *Violation         // not known yet to have no cause
	at        time.Time
	found     []Violation
}

// settle makes a breach final for which no cause was recorded.
func (q *silence) settle(now time.Time) {
	if q.breach != nil && now.Sub(q.at) > deliverySlack {
		q.found = append(q.found, *q.breach)
		q.breach = nil
	}
}

// stir takes note that something happened.
func (q *silence) stir() { q.open, q.breach = false, nil }

func (q *silence) broken(at time.Time, v Violation) {
	if q.open {
		q.open, q.breach, q.at = false, &v, at
	}
}

func (q *silence) apply(i int, e record.Event) {
	switch {
	case e.Rest != nil:
		q.rest(e)
	case e.Fault != nil, e.Process != nil, e.Ack != nil, e.Stream != nil && e.Stream.Kind != record.StreamConsumers:
		q.stir()
	case e.Op != nil:
		q.operation(i, e)
	case e.Write != nil:
		q.write(i, e)
	}
}

func (q *silence) rest(e record.Event) {
	q.open, q.since, q.versions = e.Rest.Ready, e.At, map[string]string{}
	for _, w := range e.Rest.Resources {
		q.versions[lineOf(w.Resource, w.Name)] = w.ResourceVersion
	}
}

func (q *silence) operation(i int, e record.Event) {
	o := e.Op
	switch {
	case o.Bucket == fleet.BucketDeviceHeartbeat:
	case slices.Contains(fencedBuckets(), o.Bucket):
		q.owned(i, e.At, o)
	case changes(q.values, o):
		q.stir()
	}
}

// changes takes in the value of an operation, and reports whether it may be another one than before.
func changes(values map[written]string, o *record.Op) bool {
	key := written{bucket: o.Bucket, key: o.Key}
	before, known := values[key]
	delete(values, key)
	if o.Kind == record.OpPut {
		values[key] = o.Value
	}
	return !known || o.Kind != record.OpPut || before != o.Value
}

// owned takes in an operation on a bucket that a service owns.
func (q *silence) owned(i int, at time.Time, o *record.Op) {
	if o.Missed > 0 {
		maps.DeleteFunc(q.kept, func(k written, _ string) bool { return k.bucket == o.Bucket })
	}
	another := fleet.IsReserved(o.Key) && changes(q.kept, o)
	switch {
	case !o.Stamp.IsZero() && o.Stamp.Before(q.since):
	case o.Key == fleet.KeyLease, o.Key == fleet.KeyEpoch, o.Key == fleet.KeySynced && another:
	case o.Key == fleet.KeyHold && another, o.Epoch == 0, o.Cause.Doubtful():
		q.stir()
	default:
		q.broken(at, violation(i, "%s: %s of %s at revision %d, though nothing had happened since the stack was at rest", o.Bucket, o.Kind, o.Key, o.Revision))
	}
}

func (q *silence) write(i int, e record.Event) {
	w := e.Write
	key := lineOf(w.Resource, w.Name)
	before := q.resources[key]
	q.resources[key] = w
	switch {
	case !q.open && q.breach == nil:
	case !newer(w.ResourceVersion, q.versions[key]):
	case before == nil || !onlyStatus(before, w) || byClock(before, w):
		q.stir()
	default:
		q.broken(e.At, violation(i, "status of %s %s was written, though nothing had happened since the stack was at rest", w.Resource, w.Name))
	}
}

// newer reports whether a resource version is after another, as far as that can be told.
func newer(version, than string) bool {
	a, errA := strconv.ParseUint(version, 10, 64)
	b, errB := strconv.ParseUint(than, 10, 64)
	if errA != nil || errB != nil {
		return version != than
	}
	return a > b
}

// onlyStatus reports whether the status and nothing else differs that is recorded.
func onlyStatus(a, b *record.Write) bool {
	return b.Kind == record.WriteModified && a.Kind != record.WriteDeleted &&
		a.UID == b.UID && a.Generation == b.Generation && a.Deleting == b.Deleting &&
		slices.Equal(a.Finalizers, b.Finalizers) && maps.Equal(a.Labels, b.Labels) &&
		string(a.Spec) == string(b.Spec) && string(a.Status) != string(b.Status)
}

// byClock reports whether a status may have changed because of the time alone.
func byClock(a, b *record.Write) bool {
	if b.Resource == fleet.KindDevice {
		var x, y fleet.DeviceStatus
		if json.Unmarshal(or(a.Status), &x) != nil || json.Unmarshal(or(b.Status), &y) != nil {
			return false
		}
		return x.State != y.State || (x.LastSeen == nil) != (y.LastSeen == nil) || x.LastSeen != nil && !x.LastSeen.Equal(*y.LastSeen)
	}
	var x, y fleet.DeploymentStatus
	if json.Unmarshal(or(a.Status), &x) != nil || json.Unmarshal(or(b.Status), &y) != nil {
		return false
	}
	return x.Aggregate.Stale != y.Aggregate.Stale || x.Aggregate.StaleLastKnown != y.Aggregate.StaleLastKnown ||
		isSilent(&x) != isSilent(&y)
}

func isSilent(s *fleet.DeploymentStatus) bool {
	return slices.ContainsFunc(s.Conditions, func(c fleet.Condition) bool { return c.Reason == fleet.ReasonHeartbeatsSilent })
}

func or(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}
