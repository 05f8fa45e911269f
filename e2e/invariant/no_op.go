package invariant

import (
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// noOp: between the begin and the end of a steady time no resource is added, modified or deleted, and no message
// is put or deleted in a bucket, except
//
//   - under keys that begin with "_"; but what they keep beside "_lease" and "_epoch" is not put again with the very
//     value that stands there,
//   - heartbeats,
//   - an info or report with the very bytes of the one before: agents say everything again when they connect.
//
// (Design, section 3: restarting any of the services without a change of input causes zero writes.)
//
// An operation is in the steady time when the server's stamp is and it was recorded after the begin. What was
// listed is no write, and what expires was written before. An info or report counts as repeated, and book-keeping
// as changed, when the value before it may not have been seen, or the bucket lost something.
func noOp(h *history) []Violation {
	times := steadyTimes(h.events)
	if len(times) == 0 {
		return nil
	}
	var found []Violation
	for i, e := range h.events {
		if w := e.Write; w != nil && w.Kind != record.WriteListed && inSteady(times, i, e.At) {
			found = append(found, violation(i, "%s %s was %s in a steady time", w.Resource, w.Name, w.Kind))
		}
	}
	for _, bucket := range record.Buckets() {
		if bucket == fleet.BucketDeviceHeartbeat {
			continue
		}
		for _, s := range h.streams[bucket] {
			found = append(found, h.noWrites(s, times)...)
		}
	}
	return found
}

func (h *history) noWrites(s *stream, times []steady) []Violation {
	var found []Violation
	repeats := s.bucket == fleet.BucketDeviceInfo || s.bucket == fleet.BucketDeviceState
	last := map[string]*operation{}
	for i := range s.ops {
		o := &s.ops[i]
		before := last[o.Key]
		last[o.Key] = o
		if o.Kind == record.OpExpire || !inSteady(times, o.event, o.stamp()) {
			continue
		}
		if fleet.IsReserved(o.Key) {
			if h.isKeptAgain(before, o) {
				found = append(found, violation(o.event, "%s: %s was put at revision %d and again at %d with the same value in a steady time", s.bucket, o.Key, before.Revision, o.Revision))
			}
			continue
		}
		if repeats && o.Kind == record.OpPut && o.repeats(before) {
			continue
		}
		found = append(found, violation(o.event, "%s: %s of %s at revision %d in a steady time", s.bucket, o.Kind, o.Key, o.Revision))
	}
	return found
}

// repeats reports whether a put may be of the value that was there.
func (o *operation) repeats(before *operation) bool {
	if before == nil {
		return o.unseen > 0
	}
	return before.Kind == record.OpPut && before.Value == o.Value || before.unseen != o.unseen
}

// isKeptAgain reports whether book-keeping was put with the value that it had, which makes nobody a holder.
func (h *history) isKeptAgain(before, o *operation) bool {
	return o.Key != fleet.KeyLease && o.Key != fleet.KeyEpoch && o.Kind == record.OpPut &&
		before != nil && before.Kind == record.OpPut && before.Value == o.Value && before.unseen == o.unseen &&
		!h.lost(o.Bucket, before.at.Add(-writeSlack), o.at.Add(lossSlack))
}

// steady is a steady time.
type steady struct {
	event    int // that began it
	from, to time.Time
}

func steadyTimes(events record.Recording) []steady {
	var all []steady
	open := false
	for i, e := range events {
		switch {
		case e.Steady == nil:
		case !e.Steady.End:
			all, open = append(all, steady{event: i, from: e.At, to: events[len(events)-1].At.Add(1)}), true
		case open:
			all[len(all)-1].to, open = e.At, false
		}
	}
	return all
}

func inSteady(times []steady, event int, at time.Time) bool {
	for _, t := range times {
		if event > t.event && !at.Before(t.from) && at.Before(t.to) {
			return true
		}
	}
	return false
}
