// Package view keeps the projection in step with the buckets.
//
//	fleet-resources  ┐
//	desired-state    │ kv.Reflector each ─▶ feed: parse, decode ─▶ ┌───────────────┐
//	device-info      │                                             │ lock:         │ ◀─ Read: clock, then
//	device-state     │                                             │  projection   │    whoever derives
//	device-heartbeat ┘                                             │  judge        │    something
//	                                                               └───────────────┘
//
// Feeds parse and decode outside the lock. Whoever reads gets the projection as of now: the judge has
// looked at the clock first, under the same lock, so nobody sees a device as fresh whose time is up.
//
// While a source is not synced, Moment.InView is false and nothing may be derived and written. Without
// the mirror's "_synced", Moment.Whole is false, which means the same for whoever writes. Moment.Served
// says that a patcher holds its lease and has made the mirror whole under its own epoch: nobody else
// takes requests. Moment.Epoch is that epoch: when it changes, so may have what the apiserver knows.
//
// Time is the server's: each message carries its stamp, and in between the own clock goes on from the
// newest. What the own clock shows is never compared with a stamp.
//
// A bucket of which a pass finds much gone, or that was restored from a backup, counts as created then:
// what a purge takes away is the same, although the stream is as old as before.
//
// A value that is not of the contract changes nothing but its own entry: it is set aside, counted and
// shown, and the last good value is kept. In the buckets that only a service writes, a message without
// Fleet-Epoch is foreign and treated the same way, except for a desired value: that pair is in scope,
// and no report counts for it.
package view
