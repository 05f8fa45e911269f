package invariant

import "harmony.dev/fleet"

// excludes says why a delete cannot have the cause that it names, "" when it may. Of what a reconciler may have
// gone by (see mayBelieve)
//
//   - for any cause, at some moment the pair was not in scope;
//   - for deleted, the Deployment or the Device was being deleted, or has a tombstone that says so, or is gone
//     after a time in which it waited for its finalizers;
//   - for quarantined, the Device was quarantined;
//   - for edited, the Deployment had a generation above that of the "_applied" that stands before the delete in the
//     stream, under the same uid. Nothing is concluded without such a record, when somebody else wrote it, or
//     when a message of the stream was not seen, or was lost, since.
//
// Of the causes that the brake looks at nothing else is required: a delete that names one of them without need is
// only held the sooner. (Design, section 5, Brake.)
func (h *history) excludes(pair fleet.Pair, o *operation, known records) string {
	may := func(holds func(p, d state) bool) bool { return h.mayBelieve(pair, o, holds) }
	if !may(func(p, d state) bool { return placeOf(p.is, d.is) != inside }) {
		return "the pair was in scope all the time"
	}
	switch o.Cause {
	case fleet.CauseDeleted:
		if !may(func(p, d state) bool { return p.deleted() || d.deleted() }) {
			return "neither the Deployment nor the Device was deleted"
		}
	case fleet.CauseQuarantined:
		if !may(func(_, d state) bool { return d.is != nil && d.is.quarantined }) {
			return "the Device was not quarantined"
		}
	case fleet.CauseEdited:
		a, is := known[pair.Deployment]
		if is && a.unseen == o.unseen && !h.lost(o.Bucket, a.at.Add(-writeSlack), o.at.Add(lossSlack)) && !may(a.isBelow) {
			return text("generation %d was applied already at revision %d", a.Generation, a.Revision)
		}
	case fleet.CauseVanished, fleet.CauseRegressed, fleet.CauseRelabelled:
	}
	return ""
}

// isBelow reports whether a Deployment has a newer generation than the record says.
func (a applied) isBelow(p, _ state) bool {
	return p.is != nil && p.is.uid == a.UID && p.is.generation > a.Generation
}
