package invariant

import (
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

const (
	// lossSlack is how late the recorder may learn that a bucket lost something.
	lossSlack = 3 * time.Second
	// writeSlack is how late the recorder may learn of a write to a resource.
	writeSlack = time.Second
	// planSlack is how old the mirror may be that a reconciler plans by.
	planSlack = 3 * time.Second
	// mirrorSlack is how far the mirror may lie behind the apiserver while a patcher vouches for it: as long as it
	// keeps its lease out of sight of the apiserver, and then some.
	mirrorSlack = 30 * time.Second
)

// noFlap: in each incarnation of desired-state, of two writes of the reconciler that follow each other on the
// key of a pair
//
//   - the second is no put of the value that the first put;
//   - the second is no put after a delete, while all the time from before the delete until the put the same was
//     wanted of the pair. (Design, section 5: no flap, no double write; ADR 1.)
//
// What is wanted follows from the two resources: the same Deployment and Device by uid, in scope or not, the
// same canonical value. It counts as constant when the apiserver had it so for [mirrorSlack] before the delete,
// or the apiserver and the mirror both for [planSlack], which is longer when a reconciler was stopped meanwhile.
// A foreign operation on the key, or a loss of the bucket, begins anew. Nothing follows from puts between which
// a message of the stream was not seen.
func noFlap(h *history) []Violation {
	var found []Violation
	for _, s := range h.streams[fleet.BucketDesiredState] {
		last := map[string]*operation{} // own, of each key
		for i := range s.ops {
			o := &s.ops[i]
			pair, err := fleet.ParseDesiredKey(o.Key)
			if err != nil {
				continue
			}
			before := last[o.Key]
			if delete(last, o.Key); !o.own || o.Kind == record.OpExpire {
				continue
			}
			last[o.Key] = o
			if before == nil || o.Kind != record.OpPut || h.lost(s.bucket, before.at.Add(-writeSlack), o.at.Add(lossSlack)) {
				continue
			}
			switch {
			case before.Kind == record.OpDelete && h.wantedThroughout(pair, before, o):
				found = append(found, violation(o.event, "%s was deleted at revision %d (%s) and put back at %d, while what was wanted stayed the same", o.Key, before.Revision, before.Cause, o.Revision))
			case before.Kind == record.OpPut && before.Value == o.Value && before.unseen == o.unseen:
				found = append(found, violation(o.event, "%s was written at revision %d and again at %d with the same value", o.Key, before.Revision, o.Revision))
			}
		}
	}
	return found
}

// wantedThroughout reports whether the same was wanted of a pair from before one operation until another.
func (h *history) wantedThroughout(pair fleet.Pair, first, last *operation) bool {
	began, to := earlier(first.stamp(), first.at), last.at.Add(writeSlack)
	from := h.before(fleet.ServiceReconciler, began, planSlack)
	return h.api.constant(pair, from, to) &&
		(h.api.constant(pair, from.Add(-mirrorSlack), to) || h.mirror().constant(pair, from, to))
}
