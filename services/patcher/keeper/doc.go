// Package keeper keeps the mirror: the one replica that holds the lease of fleet-resources brings the
// bucket to what the custom resources say, and keeps it there.
//
//	lease ─▶ new epoch ─▶ own view that new ─▶ quorum list of both kinds ─▶ finalizers, one try each
//	            ▲                                                                   │
//	            │                              ┌─ changed resources ◀─┐             ▼
//	            └── foreign operation,         ▼                      │   whole difference, _synced
//	                pass ended,            difference ─ fenced write ─┴─────────────┘
//	                outcome unknown,
//	                apiserver went back
//
// What to write is decided by package mirror. What this package adds is the order of things: nothing is
// written before the view holds every write of every earlier holder and the lists were begun after the
// epoch; the next difference is taken when the view has reached the last write; `_synced` says which
// epoch the mirror was whole under, and is the last write of the whole difference.
//
// A new epoch is also how the other services learn that the apiserver was restored from a backup and what
// they had written there is lost: they send it again under each epoch.
//
// The lease is of no use to a holder that does not see the apiserver: it hands it back, and campaigns
// again when it sees.
//
// What the bucket refuses, for example because it is full, is shown in the service's health and tried again
// more and more seldom.
//
// A resource whose finalizers cannot be added, or which cannot be mirrored, is set aside: shown in the
// service's health, tried again, and nothing waits for it. The mirror keeps its last value; when that is gone, a
// placeholder says that the resource is there.
package keeper
