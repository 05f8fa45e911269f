// Package acting is what the aggregator's lease holder does with the view: it has the patcher write
// statuses and Devices, asks agents to send again what is missing, and removes garbage.
//
//	view ──▶ every tick ──┬─ statuses   of the Deployments that changed   ─▶ patcher.status.apply
//	                      ├─ devices    whose resource must change        ─▶ patcher.device.apply
//	                      ├─ sweep      keys of devices that leave        ─▶ delete if unchanged,
//	                      │                                                  patcher.finalizer.release
//	                      └─ resync     devices that something is missing ─▶ fleet.v1.agents.resync
//
// The four loops share nothing but the view, so that none waits for another. Each looks at the view when
// it acts, never at what it remembers from before: a refused or lost request is followed by one that
// carries the state of then.
//
// What is promised:
//
//   - Nothing is sent while a source is not in view, the mirror is not whole, or no patcher serves. A
//     holder whose sources are out of view for as long as a lease lasts gives the lease back.
//   - A status is sent at most once a tick for each Deployment, and only when its bytes differ from the
//     last ones acknowledged under this epoch. Until it is acknowledged it stays due. One that the
//     patcher refuses does not hold up the others, and is tried again after growing pauses.
//   - An acknowledgement is relied on for some minutes, and not beyond the mirror's epoch: a resource
//     that was edited or restored from a backup gets its status back. The patcher writes none that is
//     there already.
//   - A status whose reports or record were lost waits until they are back: see ADR 8. Such a wait
//     is shown as Rebuilding, and as trouble when it is long.
//   - A Device is sent on transitions only, at a limited rate.
//   - What is refused is tried again, and health says how much of it there is and why.
//
// What is not: that there is one holder at any time. The patcher tells an old epoch from the current
// one, and deletes are conditional on what was seen.
package acting
