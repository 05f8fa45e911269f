package kv

import "sync/atomic"

// Refusals counts the fenced writes of this instance, over all terms, that the server refused because of the fence.
type Refusals struct {
	Deposed  uint64 // "_epoch" had another revision: a newer holder exists (10071)
	Collided uint64 // another write fenced on the same key was under way, and this one was tried again (10164)
}

// refusals is what Refusals is read from.
type refusals struct{ deposed, collided atomic.Uint64 }

// Refusals returns what was refused so far.
func (e *Elector) Refusals() Refusals {
	return Refusals{Deposed: e.refusals.deposed.Load(), Collided: e.refusals.collided.Load()}
}
