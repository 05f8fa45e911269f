package kv

import (
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// index is the reflector's only memory of a bucket: which keys have a value and at which revision, and
// which have a marker.
type index struct {
	keys     map[string]seen
	markers  map[string]time.Time // that this pass has brought, and when the server drops each; zero is never
	pass     uint64               // number of the current pass
	fresh    int                  // keys with a value that this pass has brought
	reserved int                  // keys of a service's own book-keeping among all keys
	changed  uint64               // revision of the last message that changed how many subjects there are
}

type seen struct {
	revision uint64
	pass     uint64 // in which it was last read
}

func newIndex() *index { return &index{keys: map[string]seen{}, markers: map[string]time.Time{}} }

// begin starts a pass. The keys with a value stay, until sweep.
func (x *index) begin(pass uint64) {
	x.pass, x.changed, x.fresh = pass, 0, 0
	clear(x.markers)
}

// found returns how many subjects this pass has brought.
func (x *index) found() int { return x.fresh + len(x.markers) }

// entries returns how many keys have a value and are no book-keeping.
func (x *index) entries() int { return len(x.keys) - x.reserved }

// expirySlack is how much earlier than announced the server may drop a marker.
const expirySlack = 2 * time.Second

// subjects returns how many subjects the stream must have at the server's time at: those with a value,
// and those with a marker that has not expired. It forgets the markers that may have.
func (x *index) subjects(at time.Time) int {
	for key, expires := range x.markers {
		if !expires.IsZero() && expires.Before(at.Add(expirySlack)) {
			delete(x.markers, key)
		}
	}
	return len(x.keys) + len(x.markers)
}

func (x *index) apply(m *Message) {
	keys, before := len(x.keys), len(x.keys)+len(x.markers)
	if s, ok := x.keys[m.Key]; ok && s.pass == x.pass {
		x.fresh--
	}
	switch m.Op {
	case Put:
		x.keys[m.Key] = seen{revision: m.Revision, pass: x.pass}
		x.fresh++
		delete(x.markers, m.Key)
	case Swept:
		delete(x.keys, m.Key)
	case Delete, Purge, Expired:
		delete(x.keys, m.Key)
		x.markers[m.Key] = expiry(m)
	}
	if grown := len(x.keys) - keys; grown != 0 && fleet.IsReserved(m.Key) {
		x.reserved += grown
	}
	if len(x.keys)+len(x.markers) != before {
		x.changed = m.Revision
	}
}

// expiry returns when the server drops a message, zero when it never does.
func expiry(m *Message) time.Time {
	ttl, ok := parseTTL(m.Header.Get(headerTTL))
	if !ok {
		return time.Time{}
	}
	return m.Time.Add(ttl)
}

// sweep removes the keys that this pass has not brought and returns them in order, as messages.
func (x *index) sweep() []Message {
	var gone []Message
	for key, s := range x.keys {
		if s.pass != x.pass {
			gone = append(gone, Message{Key: key, Revision: s.revision, Op: Swept})
		}
	}
	slices.SortFunc(gone, func(a, b Message) int { return strings.Compare(a.Key, b.Key) })
	for i := range gone {
		x.apply(&gone[i])
	}
	return gone
}
