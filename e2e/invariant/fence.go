package invariant

import "harmony.dev/fleet"

// fence: in each incarnation of a bucket that a service owns, every write that carries an epoch carries the
// revision of the newest message under "_epoch" that stands before it in the stream. So epochs never decrease
// along the stream, and no two holders' writes interleave. (Design, section 5, steps 2 and 4; ADR 1.)
//
// Any message under "_epoch" moves the fence, a marker too: the server compares with the last sequence of the
// subject. An epoch whose own message may not have been seen counts as taken.
func fence(h *history) []Violation {
	var found []Violation
	for _, bucket := range fencedBuckets() {
		for _, s := range h.streams[bucket] {
			found = append(found, s.fence()...)
		}
	}
	return found
}

func (s *stream) fence() []Violation {
	var found []Violation
	newest := uint64(0) // epoch that is known to have been taken
	for _, o := range s.ops {
		switch {
		case o.Key == fleet.KeyEpoch:
			newest = o.Revision
			continue
		case !o.own || o.Key == fleet.KeyLease:
			continue
		case o.Epoch >= o.Revision:
			found = append(found, violation(o.event, "%s: %s at revision %d carries epoch %d, which did not exist yet", s.bucket, o.Key, o.Revision, o.Epoch))
			continue
		case o.Epoch < newest:
			found = append(found, violation(o.event, "%s: %s at revision %d was accepted under epoch %d after epoch %d was taken", s.bucket, o.Key, o.Revision, o.Epoch, newest))
		case o.Epoch > newest && !s.mayHold(o.Epoch):
			found = append(found, violation(o.event, "%s: %s at revision %d carries epoch %d, which nobody took", s.bucket, o.Key, o.Revision, o.Epoch))
		}
		newest = max(newest, o.Epoch)
	}
	return found
}
