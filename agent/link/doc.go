// Package link lets many agents share one NATS connection. It is the only place in this module that
// knows NATS.
//
// One goroutine takes every message from one channel, whatever the number of agents, and hands it to the
// seat that it is for. Requests and publishes carry reply subjects of one inbox; their answers are events of
// the seat, a time-out included. A bounded number of them is under way: a thousand agents that come back at
// once do not drown the server's ingest queue, which would refuse them.
//
// When messages come faster than they are taken, the client drops some. The link looks for that again and
// again, and makes up for it: agents whose messages were dropped ask again.
//
// A lost connection ends everything under way without an answer: agents are told that the connection is
// gone, and later that there is a new one. Only then do they begin anew.
package link
