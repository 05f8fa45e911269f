// Package rpc carries the requests and answers of the services over NATS micro (ADR-32): typed
// handlers, typed callers, one form of error. It is the only place that knows micro.
//
// # Model
//
// A [Server] is one instance of a micro service. [Handle] puts an endpoint of the contract on it; the
// endpoint's role decides who answers:
//
//	query   any one replica: a queue group
//	acting  the lease holder: no queue group, every replica hears it, the standbys return ErrSilent
//	every   each replica: no queue group
//
// A replica is in the queue group from its first moment on, and micro cannot take an endpoint back. One whose
// view is not in sync says 503, and [Call] asks again until it hits one that is.
//
// micro serves an endpoint one message at a time, so a handler that blocked there would block its
// endpoint. Here the dispatcher only hands the message to a bounded pool:
//
//	dispatcher ─▶ pool (Workers run, Queue wait, more are refused with 429) ─▶ decode ─▶ handler ─▶ reply
//
// The dispatcher also judges what may wait: the size of a request, and how many of one subject (PerSubject)
// are in the pool.
//
// Endpoints of role "every" have a small pool of their own: a service that is busy can still say how
// it is.
//
// # What holds
//
//   - A request has a deadline from the moment it arrived (5 s); one that waited it out in the queue is
//     answered 503 and never started.
//   - A request is strict JSON of at most 1 MiB (MaxRequest): an unknown field is a 400 that names it. An empty
//     payload is the zero request. Answers are read leniently, so that newer services can be asked.
//   - An error is a header pair as micro has it (Nats-Service-Error, Nats-Service-Error-Code) and a
//     body {reason, message, errorId}. An error that is no [fleet.Error] is a 500 whose cause is in the
//     log under its errorId and not on the wire.
//   - A reply goes only to a subject that begins with "_", as inboxes do. The sender of a request
//     chooses its reply subject: it must not make a service publish to $KV…, $JS… or fleet…. A
//     [Subscription] drops a request with any other reply subject, or none, before it costs anything.
//   - What a [Subscription] could not answer is logged at Error at most every 10 s, the rest at Debug.
//   - A panic in a handler is a bug. It is answered 500, and then [Server.Run] returns it as a
//     [PanicError] so that the process ends. That of a [Subscription] goes to Config.Panicked, or on. Nothing
//     is swallowed.
//   - When Run's context ends, the endpoints are unsubscribed, what was already delivered is answered,
//     and Run returns. Draining the connection is its owner's business.
package rpc
