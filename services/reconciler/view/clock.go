package view

import (
	"time"

	"harmony.dev/fleet/kv"
)

const (
	// leap is by how much more than the own clock that of the servers may go on between two messages.
	leap = 2 * time.Second
	// late is for how long messages that are brought late may make up for it. Else the time was really set back.
	late = 10 * time.Second
)

// clock is the time of the NATS servers. A message is stamped by the leader of its stream, and the clocks of two
// leaders differ. So each stream has a clock of its own, and the one that is furthest counts: else the time would go to
// and fro with every message. It is under the lock of the view.
type clock struct {
	own     func() time.Time
	streams []*kv.Clock
	latest  time.Time // that it has shown
	at      time.Time // when it did, by the own clock
	sure    bool      // a message was seen when it was stored: before that the time may be long past
}

func newClock(own func() time.Time) *clock { return &clock{own: own} }

// stream returns a clock for one more stream.
func (c *clock) stream() *kv.Clock {
	s := kv.NewClock(c.own)
	c.streams = append(c.streams, s)
	return s
}

// Now returns the servers' time; before any stamp was seen, the own clock's.
func (c *clock) Now() time.Time {
	if now, ok := c.now(); ok {
		return now
	}
	return c.own()
}

func (c *clock) now() (now time.Time, ok bool) {
	for _, s := range c.streams {
		if s.Known() {
			now, ok = newest(now, s.Now()), true
		}
	}
	return now, ok
}

// observe takes in a stamp of a stream, fresh when the message was stored just now. It returns by how much the time
// jumps with it, beyond what has passed on the own clock: a server's clock was set, or another server leads. It is no
// jump when it is at most leap, or when the time comes back to where it was, as with messages that are brought late.
func (c *clock) observe(s *kv.Clock, stamp time.Time, fresh bool) time.Duration {
	before, ok := c.now()
	c.note(before)
	if c.sure = c.sure || fresh; fresh {
		s.Observe(stamp)
	} else {
		s.Recall(stamp)
	}
	now := c.Now()
	if jump := now.Sub(before); ok && jump > leap && !c.comesBack(now) {
		return jump
	}
	return 0
}

// note remembers how far the time has been.
func (c *clock) note(now time.Time) {
	if now.After(c.latest) {
		c.latest, c.at = now, c.own()
	}
}

// comesBack reports whether the time has been further a moment ago.
func (c *clock) comesBack(now time.Time) bool {
	return !now.After(c.latest) && c.own().Sub(c.at) < late
}
