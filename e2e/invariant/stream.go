package invariant

import (
	"slices"
	"sort"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// stream is one incarnation of a bucket's stream, as far as it was seen.
type stream struct {
	bucket      string
	incarnation int
	ops         []operation
	gaps        []gap
}

// operation is an operation and what its stream says about it.
type operation struct {
	*record.Op
	event  int
	at     time.Time // when the recorder learned of it
	unseen uint64    // how many messages of the stream were not seen before it
	own    bool      // by the service that owns the bucket: fenced, and not written by the scenario
}

// stamp is when the server took the operation in.
func (o *operation) stamp() time.Time {
	if o.Stamp.IsZero() {
		return o.at
	}
	return o.Stamp
}

// gap is a range of sequences that were not seen, both included.
type gap struct{ from, to uint64 }

// written identifies a message of a bucket.
type written struct {
	bucket, key string
	revision    uint64
}

func streamsOf(events record.Recording) map[string][]*stream {
	foreign := map[written]bool{}
	for _, e := range events {
		if a := e.Ack; a != nil {
			foreign[written{a.Bucket, a.Key, a.Revision}] = true
		}
	}
	all := map[string][]*stream{}
	for i, e := range events {
		if e.Op == nil {
			continue
		}
		s := incarnationOf(all, e.Op)
		s.add(operation{
			Op: e.Op, event: i, at: e.At,
			own: e.Op.Epoch != 0 && !foreign[written{e.Op.Bucket, e.Op.Key, e.Op.Revision}],
		})
	}
	return all
}

// incarnationOf returns the stream that an operation is on, and makes it if need be.
func incarnationOf(all map[string][]*stream, op *record.Op) *stream {
	list := all[op.Bucket]
	i, found := slices.BinarySearchFunc(list, op.Incarnation, func(s *stream, n int) int { return s.incarnation - n })
	if !found {
		list = slices.Insert(list, i, &stream{bucket: op.Bucket, incarnation: op.Incarnation})
		all[op.Bucket] = list
	}
	return list[i]
}

func (s *stream) add(o operation) {
	missed := o.Missed
	if last := s.last(); last != nil {
		if o.Revision <= last.Revision {
			return // read twice
		}
		missed = max(missed, o.Revision-last.Revision-1)
		o.unseen = last.unseen
	}
	o.unseen += missed
	if missed > 0 && missed < o.Revision {
		s.gaps = append(s.gaps, gap{o.Revision - missed, o.Revision - 1})
	}
	s.ops = append(s.ops, o)
}

func (s *stream) last() *operation {
	if len(s.ops) == 0 {
		return nil
	}
	return &s.ops[len(s.ops)-1]
}

// mayHold reports whether a message that was not seen may have stood at a sequence.
func (s *stream) mayHold(sequence uint64) bool {
	if len(s.ops) == 0 || sequence < s.ops[0].Revision {
		return true
	}
	_, found := slices.BinarySearchFunc(s.gaps, sequence, func(g gap, n uint64) int {
		switch {
		case g.to < n:
			return -1
		case g.from > n:
			return 1
		}
		return 0
	})
	return found
}

// complete reports whether every message of a bucket in a time was seen.
func (h *history) complete(bucket string, from, until time.Time) bool {
	for _, s := range h.streams[bucket] {
		first, end := sort.Search(len(s.ops), func(i int) bool { return !s.ops[i].at.Before(from) }), seenBy(s.ops, until)
		before := uint64(0)
		if first > 0 {
			before = s.ops[first-1].unseen
		}
		if s.ops[min(end, len(s.ops)-1)].unseen > before {
			return false
		}
	}
	return true
}

// unseenBy returns how many messages of a bucket were not seen up to a time.
func (h *history) unseenBy(bucket string, until time.Time) int {
	n := uint64(0)
	for _, s := range h.streams[bucket] {
		n += s.ops[min(seenBy(s.ops, until), len(s.ops)-1)].unseen
	}
	return int(min(n, 1<<30))
}

// seenBy returns how many of the operations were recorded up to a time.
func seenBy(ops []operation, until time.Time) int {
	return sort.Search(len(ops), func(i int) bool { return ops[i].at.After(until) })
}

// desiredOps returns the operations on each key of desired-state, of all incarnations.
func (h *history) desiredOps() map[string][]operation {
	if h.desired == nil {
		h.desired = map[string][]operation{}
		for _, s := range h.streams[fleet.BucketDesiredState] {
			for _, o := range s.ops {
				h.desired[o.Key] = append(h.desired[o.Key], o)
			}
		}
	}
	return h.desired
}
