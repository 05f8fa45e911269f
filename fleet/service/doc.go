// Package service is the life of a process: the same flags, states, connections, probes and ending in
// all services. A service's main is one call of [Main]; what the service does is wired in its Setup.
//
// # Life
//
//	parse flags ─▶ HTTP ─▶ connect data, control ─▶ Setup ─▶ run ─▶ stop ─▶ exit code
//
//	SIGTERM, SIGINT, context, parent's end:
//	    /readyz 503 ─▶ contexts of all goroutines end ─▶ wait (20 s) ─▶ drain connections ─▶ 0
//	a goroutine panics or returns:
//	    /readyz 503 ─▶ contexts of the others end ─▶ wait (3 s) ─▶ close connections ─▶ 1
//	    (so does a panic in a handler of an endpoint or of HTTP; one in any other goroutine is the end at once)
//	a second signal: 130 at once        a wrong flag: 2
//
// # State
//
//	           connected,        required        nothing left
//	           set up            sources synced  to write
//	starting ───────▶ replaying ───────▶ converging ───────▶ ready
//	   ╰──────────────────┴──────┬───────────┴─────────────────╯
//	                degraded (a reason is set)    held (the brake)
//
// The state is a pure function of what the parts say of themselves ([judge]); nothing stores it.
// Ready, which is what /readyz says, is another question: it holds when every required source is
// synced and the process is not ending, in whatever state.
//
// # What holds
//
//   - A lost dependency never ends the process. NATS down, refusing, misconfigured or too old is a
//     degraded reason that says what to do, and the connection is tried again for ever.
//   - A bug ends the process within 5 s, even when other goroutines hang, and /readyz says no first.
//   - /healthz asks the process's own loop and nothing outside the process.
//   - Nothing is replayed: a publish while disconnected fails (no reconnect buffer).
//   - No credentials get into logs or health: user information in URLs is cut out of every text.
package service
