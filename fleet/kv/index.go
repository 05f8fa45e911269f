package kv

import (
	"slices"

	"harmony.dev/fleet"
)

// index is the reflector's only memory of a bucket: which keys have a value or a marker and at which
// revision, and when the server drops those that have a TTL.
type index struct {
	subjects map[string]seen
	ends     map[string]end // of the subjects whose message has a TTL
	pass     uint32         // number of the current pass
	fresh    int            // subjects that this pass has brought
	barrier  uint64         // of the current pass
	late     []uint64       // revisions behind the barrier that brought a subject first
	whole    bool           // this pass has brought every subject
	values   int            // subjects that have a value
	reserved int            // of these the keys of a service's own book-keeping
	changed  uint64         // revision of the last message that added a subject
}

// seen is the last message of a subject. There is one for each key of a bucket: it is kept small.
type seen struct {
	revision uint64
	pass     uint32 // in which it was last read
	marker   bool
	ends     bool // it is in index.ends
}

func newIndex() *index { return &index{subjects: map[string]seen{}, ends: map[string]end{}} }

// begin starts a pass. What earlier ones have brought stays, until sweep.
func (x *index) begin(p Pass) {
	x.pass, x.changed, x.fresh = uint32(p.Number), 0, 0
	x.barrier, x.late, x.whole = p.Barrier, nil, false
}

// found returns how many of the subjects that the stream had at a look this pass has brought by then:
// neither those that came later, nor those that had ended.
func (x *index) found(l look) int {
	n := x.fresh
	for i := len(x.late); i > 0 && x.late[i-1] > l.last; i-- {
		n--
	}
	if n < l.subjects {
		return n
	}
	for key, e := range x.ends {
		if !e.isOver(l, l.at) {
			continue
		}
		if s := x.subjects[key]; s.pass == x.pass && s.revision <= l.last {
			n--
		}
	}
	return n
}

// entries returns how many keys have a value and are no book-keeping.
func (x *index) entries() int { return x.values - x.reserved }

// least returns how many subjects the stream must have had at a look: all but those that the server
// may have dropped by then without a word.
func (x *index) least(l look) int {
	n := len(x.subjects)
	for _, e := range x.ends {
		if e.mayBeOver(l) {
			n--
		}
	}
	return n
}

// apply takes note of a message from the stream.
func (x *index) apply(m *Message) {
	old, known := x.subjects[m.Key]
	now := seen{revision: m.Revision, pass: x.pass, marker: m.Op != Put}
	var e end
	if e, now.ends = endOf(m); now.ends {
		x.ends[m.Key] = e
	} else if old.ends {
		delete(x.ends, m.Key)
	}
	x.subjects[m.Key] = now
	if !known {
		x.changed = m.Revision
	}
	if !known || old.pass != x.pass {
		x.fresh++
		if !x.whole && m.Revision > x.barrier {
			x.late = append(x.late, m.Revision)
		}
	}
	x.count(m.Key, known && !old.marker, !now.marker)
}

// count keeps the number of values when a subject had one or has one now.
func (x *index) count(key string, had, has bool) {
	if had == has {
		return
	}
	n := 1
	if had {
		n = -1
	}
	x.values += n
	if fleet.IsReserved(key) {
		x.reserved += n
	}
}

// sweep says that the pass is whole. It forgets what the pass has not brought, and returns it in order,
// as messages.
func (x *index) sweep() []Message {
	x.late, x.whole = nil, true
	var gone []string
	for key, s := range x.subjects {
		if s.pass != x.pass {
			gone = append(gone, key)
		}
	}
	return x.forget(gone)
}

// ended forgets what the server has dropped without a word because its TTL ended, as far as a look
// shows it, and returns it in order, as messages. It is for a view that is synced and has come to where
// the look was taken. A key with a newer message is not among them: that message was applied before the
// look, or it was stored after the key was gone.
func (x *index) ended(l look) []Message {
	var gone []string
	until := l.caughtUp()
	for key, e := range x.ends {
		if e.isOver(l, until) && x.subjects[key].revision <= l.applied {
			gone = append(gone, key)
		}
	}
	if len(x.subjects)-len(gone) < l.subjects {
		return nil // there are more than would be left: the server is late
	}
	return x.forget(gone)
}

func (x *index) forget(keys []string) []Message {
	slices.Sort(keys)
	gone := make([]Message, len(keys))
	for i, key := range keys {
		s := x.subjects[key]
		delete(x.subjects, key)
		delete(x.ends, key)
		if s.pass == x.pass {
			x.fresh--
		}
		x.count(key, !s.marker, false)
		gone[i] = Message{Key: key, Revision: s.revision, Op: Swept, Marker: s.marker}
	}
	return gone
}
