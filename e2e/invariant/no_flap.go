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
)

// noFlap: in each incarnation of desired-state, of two writes of the reconciler that follow each other on the
// key of a pair
//
//   - the second is no put of the value that the first put;
//   - the second is no put after a delete, while all the time from before the delete until the put the same was
//     wanted of the pair;
//
// and of each put of the reconciler
//
//   - the value is one that was wanted of the pair at some moment within [planSlack] before, by the mirror or at
//     the apiserver, see mayBelieve: no key is invented, and none is set back to what was wanted once;
//   - the value is not that of a generation older than the one that the "_applied" before it in the stream says,
//     unless the Deployment went back to an older generation. For this no slack is needed: a holder plans only
//     after it has read the stream that far, and lets the puts of an older generation wait.
//
// (Design, section 5: no flap, no double write; ADR 1.)
//
// What is wanted follows from the two resources: the same Deployment and Device by uid, in scope or not, the
// same canonical value. It counts as constant when the apiserver had it so for [mirrorSlack] before the delete,
// or the apiserver and the mirror both for [planSlack], which is longer when a reconciler was stopped meanwhile.
// Nothing is concluded while it cannot be said, as the Deployment is invalid or lacks its finalizer, or what was
// there was not seen. A foreign operation on the key, or a loss of the bucket, begins anew. Nothing follows from
// puts between which a message of the stream was not seen.
func noFlap(h *history) []Violation {
	var found []Violation
	for _, s := range h.streams[fleet.BucketDesiredState] {
		last := map[string]*operation{} // own, of each key
		known := records{}
		for i := range s.ops {
			o := &s.ops[i]
			pair, err := fleet.ParseDesiredKey(o.Key)
			if known.take(o) || err != nil {
				continue
			}
			before := last[o.Key]
			if delete(last, o.Key); !o.own || o.Kind == record.OpExpire {
				continue
			}
			last[o.Key] = o
			if o.Kind != record.OpPut {
				continue
			}
			message := h.flaps(pair, before, o)
			if message == "" {
				message = h.isUnwanted(pair, o, known)
			}
			if message != "" {
				found = append(found, violation(o.event, "%s", message))
			}
		}
	}
	return found
}

// flaps says what is wrong with a put after the operation before it on the key, which may be nil.
func (h *history) flaps(pair fleet.Pair, before, o *operation) string {
	switch {
	case before == nil || h.lost(o.Bucket, before.at.Add(-writeSlack), o.at.Add(lossSlack)):
	case before.Kind == record.OpDelete && h.wantedThroughout(pair, before, o):
		return text("%s was deleted at revision %d (%s) and put back at %d, while what was wanted stayed the same", o.Key, before.Revision, before.Cause, o.Revision)
	case before.Kind == record.OpPut && before.Value == o.Value && before.unseen == o.unseen:
		return text("%s was written at revision %d and again at %d with the same value", o.Key, before.Revision, o.Revision)
	}
	return ""
}

// wantedThroughout reports whether the same was wanted of a pair from before one operation until another.
func (h *history) wantedThroughout(pair fleet.Pair, first, last *operation) bool {
	from, to := h.planned(first), last.at.Add(writeSlack)
	return h.api.constant(pair, from, to) &&
		(h.api.constant(pair, from.Add(-mirrorSlack), to) || h.mirror().constant(pair, from, to))
}

// isUnwanted says why the value of a put cannot have been wanted.
func (h *history) isUnwanted(pair fleet.Pair, o *operation, known records) string {
	a, is := known[pair.Deployment]
	switch {
	case is && h.isSetBack(pair, o, a):
		return text("%s was put at revision %d with the value of a generation older than %d, which is applied since revision %d", o.Key, o.Revision, a.Generation, a.Revision)
	case !h.mayBelieve(pair, o, func(p, d state) bool { return mayWant(p.is, d.is, o.Value) }):
		return text("%s was put at revision %d with a value that nobody wanted there: %.200q", o.Key, o.Revision, o.Value)
	}
	return ""
}

// mayWant reports whether a pair of these resources may be to have a value. While one of them lacks its finalizer
// the mirror keeps what it had, and that is looked at, too.
func mayWant(p, d *resource, value string) bool {
	return placeOf(p, d) != outside && (p.target.invalid || p.target.value == value)
}

// isSetBack reports whether a value is that of an older generation than is applied, of a Deployment that never
// went back.
func (h *history) isSetBack(pair fleet.Pair, o *operation, a applied) bool {
	older := false
	for n, t := range h.targets.generated[a.UID] {
		if t.value == o.Value {
			if n >= a.Generation {
				return false
			}
			older = true
		}
	}
	deployment, _ := keysOf(pair)
	return older && !h.lost(o.Bucket, a.at.Add(-writeSlack), o.at.Add(lossSlack)) &&
		h.api[deployment].reached(a.UID, a.Generation, o.at.Add(deliverySlack))
}

// reached reports whether a resource came to a generation and never went back from it.
func (l line) reached(uid string, generation int64, until time.Time) bool {
	reached := false
	for _, s := range l {
		if s.from.After(until) {
			break
		}
		is := !s.unsure && s.is != nil && s.is.uid == uid && s.is.generation >= generation
		if reached && !is {
			return false
		}
		reached = is
	}
	return reached
}
