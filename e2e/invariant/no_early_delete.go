package invariant

import (
	"slices"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// vouchSlack is by how much the stamps of two streams and the times of the recording may differ around a delete.
const vouchSlack = 2 * time.Second

// noEarlyDelete: each fenced delete of a pair's key in desired-state has one of the causes of the contract,
// and at its time a patcher vouched for the mirror: "_synced" named the revision of "_epoch", and "_lease" was
// held in the term in which that epoch was taken, by a write that was not in the bucket already when the
// incarnation began. (Design, section 5, Mirror and Brake; ADR 10.)
//
// The two streams have no mutual order: it is enough that the mirror was vouched for at any moment from as long
// as a batch may be repeated ([retrySlack]) and [vouchSlack] before the server's stamp on the delete, or before that
// when a reconciler was stopped meanwhile, until [vouchSlack] after it. Where messages of the mirror were not seen it
// counts as vouched for.
//
// And the cause holds: a violation is a delete whose cause the recording excludes, see excludes.
func noEarlyDelete(h *history) []Violation {
	var found []Violation
	vouched := h.vouched()
	for _, s := range h.streams[fleet.BucketDesiredState] {
		known := records{}
		for i := range s.ops {
			o := &s.ops[i]
			pair, err := fleet.ParseDesiredKey(o.Key)
			if known.take(o) || err != nil || !o.own || o.Kind != record.OpDelete {
				continue
			}
			from, to := h.before(fleet.ServiceReconciler, o.stamp(), vouchSlack+retrySlack), o.stamp().Add(vouchSlack)
			if !isCause(o.Cause) {
				found = append(found, violation(o.event, "%s was deleted at revision %d with %q for a cause", o.Key, o.Revision, o.Cause))
			} else if !slices.ContainsFunc(vouched, func(p period) bool { return !p.to.Before(from) && !p.from.After(to) }) {
				found = append(found, violation(o.event, "%s was deleted at revision %d (%s) while no patcher vouched for the mirror", o.Key, o.Revision, o.Cause))
			} else if why := h.excludes(pair, o, known); why != "" {
				found = append(found, violation(o.event, "%s was deleted at revision %d (%s), but %s", o.Key, o.Revision, o.Cause, why))
			}
		}
	}
	return found
}

func isCause(c fleet.Cause) bool {
	switch c {
	case fleet.CauseDeleted, fleet.CauseQuarantined, fleet.CauseVanished, fleet.CauseEdited, fleet.CauseRegressed, fleet.CauseRelabelled:
		return true
	}
	return false
}

type period struct{ from, to time.Time }

// vouched returns the times in which a patcher vouched for the mirror, or may have.
func (h *history) vouched() []period {
	var all []period
	streams := h.streams[fleet.BucketResources]
	for i, s := range streams {
		var begin, end time.Time // of the incarnation; both stretched
		if i > 0 {
			begin = s.ops[0].at.Add(-lossSlack)
		}
		switch {
		case i+1 < len(streams):
			end = streams[i+1].ops[0].at
		default:
			end = h.end.Add(vouchSlack)
		}
		all = append(all, s.vouched(begin, end)...)
		if h.end.Sub(s.last().at) < lossSlack { // what follows may not have been read any more
			all = append(all, period{s.last().stamp(), h.end})
		}
	}
	return all
}

// vouching is what the book-keeping of the mirror says.
type vouching struct {
	epoch            uint64
	synced           uint64
	epochTerm, lease string
	held             bool
}

func (v *vouching) holds() bool {
	return v.synced != 0 && v.synced == v.epoch && v.held && v.lease == v.epochTerm
}

func (v *vouching) apply(o *operation, begin time.Time) {
	put := o.Kind == record.OpPut
	value := []byte(o.Value)
	switch o.Key {
	case fleet.KeyLease:
		l, err := fleet.DecodeLease(value)
		v.held, v.lease = put && err == nil && !o.stamp().Before(begin), l.Term
	case fleet.KeyEpoch:
		v.epoch, v.epochTerm = 0, ""
		if e, err := fleet.DecodeEpoch(value); put && err == nil {
			v.epoch, v.epochTerm = o.Revision, e.Term
		}
	case fleet.KeySynced:
		v.synced = 0
		if y, err := fleet.DecodeSynced(value); put && err == nil && o.own {
			v.synced = y.Epoch
		}
	}
}

func (s *stream) vouched(begin, end time.Time) []period {
	var all []period
	var v vouching
	var since, last time.Time
	unseen := uint64(0)
	for i := range s.ops {
		o := &s.ops[i]
		at := later(o.stamp(), begin)
		if o.unseen > unseen && i > 0 {
			all = append(all, period{last, at})
		}
		was := v.holds()
		v.apply(o, begin)
		switch is := v.holds(); {
		case is && !was:
			since = at
		case was && !is:
			all = append(all, period{since, at})
		}
		last, unseen = at, o.unseen
	}
	if v.holds() {
		all = append(all, period{since, end})
	}
	return all
}
