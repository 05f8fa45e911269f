package kv

import "time"

// Clock tells the NATS server's time. It goes on from the newest stamp seen with the process's own
// clock, of which only the time that passes counts: what it shows is never compared with the server's.
// It is not safe for concurrent use. Create it with [NewClock].
type Clock struct {
	own    func() time.Time
	newest time.Time // stamp of the server
	at     time.Time // when it was seen, by the own clock
}

// NewClock returns a Clock that has seen no stamp. Own is the process's own clock, time.Now.
func NewClock(own func() time.Time) *Clock { return &Clock{own: own} }

// Observe takes in a stamp of the server: of a message, or of a stream's creation. Older ones come when
// a bucket is read again, and change nothing; neither does the zero time.
func (c *Clock) Observe(stamp time.Time) {
	if stamp.After(c.newest) {
		c.newest, c.at = stamp, c.own()
	}
}

// Recall takes in a stamp of a message that may be old, as when a bucket is read from the beginning: the server's
// time is not before it. It never sets the time back.
func (c *Clock) Recall(stamp time.Time) {
	if !c.Known() || stamp.After(c.Now()) {
		c.Observe(stamp)
	}
}

// Known reports whether a stamp was seen.
func (c *Clock) Known() bool { return !c.newest.IsZero() }

// Now returns the server's time; before any stamp was seen, the own clock's. It may go back a little:
// a stamp that was long under way is older than the time that has passed since the one before it.
func (c *Clock) Now() time.Time {
	if c.newest.IsZero() {
		return c.own()
	}
	return c.newest.Add(c.own().Sub(c.at))
}
