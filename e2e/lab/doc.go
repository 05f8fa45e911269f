// Package lab runs stacks for the scenarios: a real NATS server, a real Kubernetes API, the service
// binaries and simulated devices, each a process of its own that can be stopped, killed, paused and
// started again with other flags.
//
//	stack ── NATS           one child process per test or three, with their own stores
//	      ── Kubernetes API  one child process per test binary, a namespace per test
//	      ── services        1..n children of each
//	      ── devices         children, many devices each
//
// A stack belongs to one test. What it starts ends with the test; the logs of a failed test are kept
// and named in its failure message.
package lab
