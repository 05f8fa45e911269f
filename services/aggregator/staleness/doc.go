// Package staleness judges since when a device must have been heard of not to be stale.
//
// The model. lastSeen of a device is a server's stamp. A device is stale iff
//
//	reference − lastSeen > StaleAfter
//
// The reference time is not simply now: when nobody is heard of any more, it is our end of the network
// or the server that is gone, not a thousand devices at once. So
//
//	reference = min(now, newest lastSeen of the fleet + 1.5 intervals)
//
// and it is plain now only once nothing was heard of for SilenceAfter of time in which the sources were
// in view (in a fleet of fewer than Few devices: for StaleAfter).
//
//	heard ──(newest + 1.5 intervals < now)──▶ hushed ──(SilenceAfter of synced time)──▶ silent
//	  ▲                                         │                                         │
//	  └──────────────────(somebody is heard of: the silence ends)─────────────────────────┘
//
// When a silence ends, the devices that were not yet stale get StaleAfter from then: each of them needs
// time to speak. Those that counted as silent stay stale until they do, but for as long that is the same
// incident, see [Verdict.Incident]. A silence may also begin and end while nobody looks, around a restart; [Unseen] finds
// it in the stamps and revisions that the heartbeats left behind.
//
// All of this moves one number: the cutoff. Devices last seen before it are stale. The package knows no
// clock: time comes in as an argument, and it is the server's, as the stamps are. Where the two differ
// all the same (the servers of a cluster disagree), the judgement is off by as much and goes on: a fleet
// that speaks is never undecided, and what ends a silence is a gap between two stamps.
package staleness
