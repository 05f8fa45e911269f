package invariant

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

const (
	// restSlack is how long before a rest nothing changed any more, and a bit less: package lab waits for that.
	restSlack = time.Second
	// noticeSlack is how long it may take until a reader notices that keys have gone without a message: 5 s, and
	// what the recorder takes to learn of it.
	noticeSlack = 5*time.Second + lossSlack
)

// completeSnapshot: at rest with every service ready, an instance that says it is in step with a bucket has as many
// keys in view as the bucket has. Illegal keys and malformed values count, book-keeping does not: so does a
// reflector count them (package kv). (Design, section 4: only what has read to the barrier, and swept, is synced.)
//
// What an instance said is compared when it said anything within [restSlack] before the rest, and names a sequence
// between the message that changed a key last and the next message that may change one: whether a view that lies behind
// was whole in its time is not said. Later it is not compared, as a key may be purged by hand, of which no trace is
// left in a recording. Nothing is concluded of a bucket in which something was written after the picture was taken, or
// lost since [noticeSlack] before the instance said so. Heartbeats are in no picture, so that views of them are not
// judged; nor are those of the apiserver, which have no sequence.
func completeSnapshot(h *history) []Violation {
	var found []Violation
	said, answered := map[viewed]moment{}, map[string]time.Time{}
	pictures := h.pictures()
	for i, e := range h.events {
		if v := e.View; v != nil {
			said[viewed{v.Bucket, v.Instance}], answered[v.Instance] = moment{i, e.At}, e.At
		}
		if len(pictures) == 0 || pictures[0].event != i {
			continue
		}
		p := pictures[0]
		pictures = pictures[1:]
		for _, of := range slices.SortedFunc(maps.Keys(said), viewed.compare) {
			if p.at.Sub(answered[of.instance]) > restSlack {
				continue
			}
			if message := h.isPartial(p, said[of]); message != "" {
				found = append(found, violation(said[of].event, "%s", message))
			}
		}
	}
	return found
}

// viewed is a bucket as an instance sees it.
type viewed struct{ bucket, instance string }

func (v viewed) compare(o viewed) int {
	return cmp.Or(strings.Compare(v.bucket, o.bucket), strings.Compare(v.instance, o.instance))
}

// isPartial says what an instance had not in view at a picture that is there, "" when nothing is wrong.
func (h *history) isPartial(p *picture, said moment) string {
	v := h.events[said.event].View
	keys, judged := p.rest.Keys[v.Bucket]
	if !judged || !v.Synced || len(keys) == v.Entries || h.lost(v.Bucket, said.at.Add(-noticeSlack), p.at) {
		return ""
	}
	if from, to, ok := h.stands(p, v.Bucket); !ok || v.Sequence < from || v.Sequence > to {
		return ""
	}
	return text("%s has %d keys of %s in view at sequence %d, there are %d", v.Instance, v.Entries, v.Bucket, v.Sequence, len(keys))
}

// stands returns the first and the last sequence of a bucket at which its keys are known to be those of a picture.
func (h *history) stands(p *picture, bucket string) (from, to uint64, ok bool) {
	s := h.incarnationAt(bucket, p.event)
	if s == nil {
		return 0, 0, false
	}
	keys := p.rest.Keys[bucket]
	for _, e := range keys {
		from = max(from, e.Revision)
	}
	greatest, last := from, map[string]bool{}
	for i := len(s.ops) - 1; i >= 0 && s.ops[i].Revision > greatest; i-- {
		o := &s.ops[i]
		if o.event > p.event || fleet.IsReserved(o.Key) || last[o.Key] {
			continue
		}
		last[o.Key] = true
		if _, live := keys[o.Key]; live || o.Kind == record.OpPut {
			return 0, 0, false // written after the picture was taken
		}
		from = max(from, o.Revision)
	}
	to, ok = s.unchangedUntil(from)
	return from, to, ok
}

// incarnationAt returns the incarnation of a bucket's stream that an event finds, nil when nothing was read.
func (h *history) incarnationAt(bucket string, event int) *stream {
	var at *stream
	for _, s := range h.streams[bucket] {
		if s.ops[0].event < event {
			at = s
		}
	}
	return at
}

// unchangedUntil returns the last sequence up to which nothing but book-keeping followed a message, as far as
// that was seen; ok is false when the message itself was not.
func (s *stream) unchangedUntil(revision uint64) (to uint64, ok bool) {
	i, found := slices.BinarySearchFunc(s.ops, revision, func(o operation, n uint64) int { return cmp.Compare(o.Revision, n) })
	if !found {
		return 0, false
	}
	to = revision
	for _, o := range s.ops[i+1:] {
		if o.unseen > s.ops[i].unseen || !fleet.IsReserved(o.Key) {
			break
		}
		to = o.Revision
	}
	return to, true
}
