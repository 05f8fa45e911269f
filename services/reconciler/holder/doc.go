// Package holder is what the one reconciler does that holds the lease of desired-state. A replica that
// does not hold it runs none of this.
//
//	      ┌────────────────────────── unknown outcome, own view lost ──────────────────────────┐
//	      ▼                                                                                    │
//	new epoch ─▶ own view at least that new ─▶ both sources synced ─▶ plan ─▶ write ─▶ own view at the last write
//	                                              ▲                    │                       │
//	                                              └──── idle ◀─ empty ─┴───────── plan ◀───────┘
//
// A write is refused by the server once another holder has taken an epoch: the holder then stands down
// at once ([kv.ErrDeposed]). Its own writes of which it does not know whether they happened are shut out
// by a new epoch before it looks again. So what is planned is always planned from what is there.
//
// It answers devices that ask for their desired state ([fleet.DesiredSubjects]), once a plan was written under
// this epoch, from the view, and a device whose keys are being written only when they are in view. While
// idle it asks the patcher to release finalizers and to record events.
package holder
