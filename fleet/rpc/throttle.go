package rpc

import (
	"sync/atomic"
	"time"
)

// errorEvery is how often at most a [Subscription] logs at Error that a request was not answered.
const errorEvery = 10 * time.Second

// throttle opens once in an interval; the zero value always.
type throttle struct {
	every time.Duration
	next  atomic.Int64 // when it opens again
}

// open reports whether it is open, and shuts it for the interval.
func (t *throttle) open(now time.Time) bool {
	if t.every == 0 {
		return true
	}
	next := t.next.Load()
	return now.UnixNano() >= next && t.next.CompareAndSwap(next, now.Add(t.every).UnixNano())
}
