package kv

import "time"

// expirySlack is how much earlier or later than announced the server may drop a message.
const expirySlack = 2 * time.Second

// end is when the server drops a message by itself, because its TTL ends.
type end struct {
	at   time.Time // by the server's clock; zero when it cannot be told
	mute bool      // it is a marker, which no other follows
}

// endOf returns the end of a message. A TTL too long for the server's clock has ended when it begins. Of
// several TTLs the server takes one, but which depends on how it reads headers; and without one there are
// headers that only the server can read.
func endOf(m *Message) (e end, ok bool) {
	ttls, ok := m.Header[headerTTL]
	if !ok {
		return end{}, false
	}
	e.mute = m.Header.Get(headerMarker) != "" || m.Header.Get(headerOperation) == operationPurge
	if len(ttls) != 1 {
		return e, true
	}
	seconds, ok := parseTTL(ttls[0])
	if !ok {
		return end{}, false
	}
	e.at = time.Unix(0, m.Time.UnixNano()+seconds*int64(time.Second)).UTC()
	if e.at.Before(m.Time) {
		e.at = m.Time
	}
	return e, true
}

// silent reports whether nothing tells that the message is gone. Else a marker does, which takes its
// place in the stream.
func (e end) silent(l look) bool { return e.mute || !l.marks }

// mayBeOver reports whether the message may be missing at a look.
func (e end) mayBeOver(l look) bool {
	if e.at.IsZero() {
		return true
	}
	return !l.at.Before(e.at.Add(-expirySlack)) && (e.silent(l) || l.at.Before(e.at.Add(expirySlack)))
}

// isOver reports whether the message was surely gone at that time, without a word.
func (e end) isOver(l look, at time.Time) bool {
	return !e.at.IsZero() && e.silent(l) && !at.Before(e.at.Add(expirySlack))
}
