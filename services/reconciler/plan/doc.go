// Package plan decides what desired-state is to hold: a pure function from what two buckets hold, and
// a time, to the writes that are missing.
//
//	messages of fleet-resources ─▶ ApplyMirror ──┐
//	                                             ├─▶ State ─▶ Compute(now) ─▶ Plan
//	messages of desired-state ───▶ ApplyDesired ─┘
//
// # The model
//
// A [State] is the two buckets as last seen. Each Deployment and Device is live, a tombstone, absent
// (no message under its mirror key) or unknown (a message that cannot be obeyed: malformed, foreign).
// Each pair of them is in scope, out of scope, or to be kept as it is because one side is unknown or
// invalid: a placeholder of the patcher is. The state keeps, per event and at the cost of what the event affects, the
// pairs whose stored value differs from the wanted one; [State.Compute] looks at nothing else.
//
// # Invariants
//
//   - A pair is put or deleted in a plan, never both, and an equal value is never written again.
//   - Nothing is written unless the mirror says that it was whole (_synced), and nothing deleted unless a
//     patcher vouches for it now: _synced names _epoch, and who took that epoch was seen to renew its lease.
//   - Each delete has a [fleet.Cause]. The doubtful ones wait for a quiet mirror and then pass the
//     brake, see brake.go.
//   - A message without Fleet-Epoch is rewritten, never obeyed. An illegal key is never touched.
//   - _applied.<deployment> follows the Deployment's keys: it names a generation only when no write of
//     that generation is outstanding, so advancing it never turns a doubtful delete into a certain one.
//   - A device is never told that its keys are whole while keys may be missing that a lost desired-state had
//     and nobody can make again: while any Deployment that is invalid or unreadable has no key at all, or
//     desired-state was seen to lose values since it had all of its keys; on its own devices while the bucket
//     refuses a Deployment's keys; and on an invalid Device. Until it is mended or deleted, devices then remove
//     workloads by live deletes only; adding and updating go on. A Deployment that became invalid after its keys
//     were made otherwise holds nothing up.
//   - After a plan is written and seen, the next plan is empty but for deletes that wait or are held.
//
// Time is data. All times are on the clock of the NATS server: stamps of messages are compared with
// them. The package knows no I/O and starts no goroutine; a State is not safe for concurrent use.
package plan
