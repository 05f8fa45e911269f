// Package protocol is the mind of an agent: which workloads a device is to run, what it says of them,
// and when it asks. It is a state machine without network, disk, log or clock. [Machine.Step] takes
// an [Event] and the time, and returns the [Action]s that the shell carries out.
//
// # What the device is to run
//
// Two sources say so: snapshots, for which the agent asks the reconciler, and live messages, which the
// server republishes with each change of an own key. A live message proves nothing about those that
// were lost before it, a snapshot nothing about what came after it. Together they do:
//
//	           connected                    a snapshot is whole
//	offline ───────────────▶ without basis ────────────────────▶ with basis ──┐ live: obey
//	   ▲                       │  ▲    ▲ live: keep, ask soon          │  ▲    │ every 10 min ± 50 %: ask
//	   │                       └──┘    └── gap, old sequence, loss ────┘  └────┘ resync: ask
//	   └──────────────── disconnected (from everywhere)
//
// The basis is the sequence of desired-state up to which a snapshot holds, and the last sequence seen
// of each key since. While a request is under way live messages are kept, and with a basis obeyed too. A
// complete snapshot replaces all knowledge; then the kept messages above its sequence apply; only
// the difference reaches the runtime. Sequences are never compared across snapshots. When too many are
// kept a snapshot under way counts as not answered: it would take back what was obeyed since it was made.
//
// # Invariants
//
//   - Only two things remove a workload: a complete snapshot without it, and a delete on the own key
//     that carries an epoch. An incomplete snapshot, an error, an expired key, a message without an epoch
//     (foreign), one that names another key, or silence: none of them does.
//   - A value of which the agent cannot make sense, or which the runtime refuses, is reported as failed
//     with its own hash; the workload before it keeps running. After a restart that one is applied first,
//     and again until the runtime takes it, or what is desired.
//   - One publish per key is under way at a time; the latest value wins; it is repeated until it is
//     acknowledged. So the last report in stream order is the agent's last word.
//   - A report that says Running is about bytes which the runtime accepted, and is taken back
//     ([fleet.PhasePending]) when the workload is removed: the same wish made again later must not find
//     an old success.
package protocol
