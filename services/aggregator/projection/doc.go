// Package projection folds what the buckets say into counts per Deployment.
//
// The model. A State is fed one key at a time: a mirror entry, a desired value, a report, an info, a
// heartbeat, or that one of them is gone. It holds the last value of each key, and beside it what
// follows from them, kept up to date in O(1) or O(log n) for each change:
//
//	device ──┬── pair ──┬── deployment
//	         │          │
//	         │          ├─ wish: the desired value (its hash, its uid), nil when not desired
//	         │          └─ report: phase, hash and stamp of the last report
//	         ├─ mirror entry, info, heartbeat
//	         └─ lastSeen: the newest server stamp of its keys
//
// A pair counts for its Deployment iff it has a wish: desired keys in view are the scope, nothing else.
// What it counts as ([fleet.Class]):
//
//   - stale when its device is stale, with what it would be otherwise as the last known class;
//   - running or failed when its report carries the hash of the desired value that is now in the bucket
//     and that value is of the Deployment's present uid;
//   - pending in all other cases: no report, a report about another value, a malformed report without
//     an earlier good one, a wish that cannot be trusted (foreign or malformed).
//
// What somebody must attend to stands in lines, in the order in which it came ([State.TakeAsking],
// [State.TakeOrphans]): who looks every second pays for what is due, not for what waits. [Turns] tells what
// is.
//
// Invariants:
//
//   - The counts are a function of the last value of each key and of the cutoff: order, repetition and
//     any split into snapshot and tail make no difference. One exception is by design: the last good
//     report or info before a malformed one is kept while the State lives.
//   - No device grows the State at will: beyond [MaxUnclaimed] reports on pairs that are not desired, only
//     where a report stands is kept. Such a report is no sign of life. When its pair becomes desired, that is
//     a pair without a report like any other: pending, and the device asks.
//   - MatchedDeviceCount = Running + Failed + Pending + Stale, always.
//   - Only the server's stamps are compared with each other. A device's own time orders errors for
//     people ([fleet.LastError]) and does nothing else.
//   - Memory is bounded by the keys in view: an entity that no key supports any more is dropped, and
//     each distinct desired value is kept and hashed once.
//
// The package knows no clock: [State.SetCutoff] tells it since when a device must have been heard of.
// A State is not safe for concurrent use.
package projection
