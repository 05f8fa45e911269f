// Package kv is the only place that knows JetStream KV. It provisions buckets ([Bucket]), keeps a view
// equal to a bucket ([Reflector]), elects who may act ([Elector]) and lets nobody else write ([Term]).
//
// # Reading: passes
//
// The client's own watchers go blind, without an error, when a stream is deleted and created again,
// rolled back or purged. A reflector reads in passes instead. A pass relies on nothing that an earlier
// one has learned, and ends at the first sign that what it reads is not what is there.
//
//	      consumer exists     all delivered         swept
//	Begin ─────▶ replay ─────▶ barrier ─▶ look ─────▶ Synced ─▶ tail ─▶ tail …
//	  ▲                                                           │
//	  └── backoff ◀── Lost ◀──────────────────────────────────────┘
//
//	    connection lost or replaced · consumer ended, silent or stalled · a number of the consumer
//	    missing · the guard: created again, last sequence went back, subjects missing
//
// A pass opens an ephemeral consumer that delivers the last message of each subject and then what
// follows, and reads up to a barrier: the stream's last sequence, taken after the consumer exists. That
// is not the whole bucket yet: a value that is replaced while the reader is on its way to it is skipped,
// and its successor lies behind the barrier. So the pass looks at the stream and is synced when either
// nothing that existed at the look was still to be delivered, or every subject was delivered at least
// once. Keys in view that the pass has not brought are swept (operation [Swept]), those of markers too,
// which the message says, and then only the view is told that it is Synced.
//
// The guard looks at the stream every two seconds, and at once when the server says that it was
// created or deleted. It compares the time of creation, the last sequence, and the number of subjects
// with what is in view; only a purge shows in nothing but the last. Numbers must be wrong several
// times in a row: an expiring value is replaced by its marker in two steps.
//
// Some messages go without a word when their TTL ends: markers, and values in a bucket that agents
// write, where nothing takes their place. Around its end such a message does not count, and when a look
// shows the stream without it the view is told that the key is swept. So a value with a TTL costs memory
// and a moment of each look, however many a device writes, and no pass.
//
// # Writing: lease, epoch, fence
//
//	_lease  create ── renew ── renew ── …          its revision proves possession
//	           │ condition: _lease is at my revision
//	           ▼
//	_epoch  written by NewEpoch                    its revision is the fencing token
//	           │ condition: _epoch is at my token
//	           ▼
//	keys    Term.Write, one batch at a time        all of a batch or nothing
//
// The lease makes two holders unlikely; the epoch makes them harmless. Each condition is checked by
// the leader of the stream in the order of its writes, so that no clock and no message that arrives
// late can break it. A holder that was paused finds its epoch outdated with its first write
// ([ErrDeposed]). A holder that does not know what became of a write ([ErrUnknownOutcome]) cannot write
// again before it has taken a new epoch, which also shuts out the write it does not know about.
//
// Both name the term, so that readers can tell whether who took the epoch still holds the lease. A lease that
// went back to a lower revision came with an old state of the stream, and ends the term.
//
// The term's context ends before the lease can run out, counted on the own clock from before the last
// renewal was sent. An elector whose act has returned gives the lease back, so that a rolling update
// costs no wait; after a kill the lease has to expire.
//
// Streams begin at a first sequence taken from the clock in microseconds. So sequences never go
// backwards over incarnations of a stream, and a token of a lost one is never valid on its successor.
//
// # What it does not promise
//
//   - That two instances never believe to hold the lease at once. A process can be paused between
//     asking [Term.Held] and acting on the answer. Only what goes through [Term.Write] is safe.
//   - That a view is current. It is what the bucket was a moment ago, and a synced one may have lost
//     its bucket up to one look ago (two seconds, and half a second to be sure).
//   - That a purge is noticed whose keys were all written again before the next look: what was written
//     is in view, and nothing is missing.
//   - That an end is noticed which only the server can tell, because the headers with the TTL are not well
//     formed: until the next pass the value stays in view.
//   - That revisions can be compared over passes, or over buckets.
//   - Anything about streams that were provisioned otherwise: Ensure and Check refuse them
//     ([ConfigError]) and nothing is ever changed on an existing stream.
//   - Fairness of the election.
package kv
