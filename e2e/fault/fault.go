// Package fault injects faults into a stack of package lab, one file for each kind, and records that it
// did. A fault is real: a signal, a cut connection, a deleted stream, bytes written by hand.
package fault

import (
	"harmony.dev/e2e/lab"
)

// Fault is something that goes wrong, and can be put right again.
type Fault interface {
	// Name is one word, or a few with hyphens, as recordings show it: "kill", "nats-cut".
	Name() string
	// Target is what it is done to: "reconciler-2 (pid 4711)", "desired-state".
	Target() string
	// Needs is what a stack must be able to do for it.
	Needs() []lab.Ability
	// Inject does it. Whatever fails is fatal to the test.
	Inject(s *lab.Stack)
	// Heal undoes it; for what heals by itself, or must not be undone, it does nothing.
	Heal(s *lab.Stack)
}

// Loser is a fault by which buckets lose content, or get another, without a message that shows it. Those that
// only write, cut connections, or kill a NATS server that is started on its store again lose nothing: what the
// server has acknowledged is in the files then, and only the machine's own end could take it from them.
type Loser interface {
	// Loses are the buckets.
	Loses() []string
}

// Inject records a fault and injects it. One that the stack cannot do is fatal to the test.
func Inject(s *lab.Stack, f Fault) {
	s.T().Helper()
	if err := s.Use(f.Needs()...); err != nil {
		s.T().Fatalf("inject %s into %s: %v", f.Name(), f.Target(), err)
	}
	s.Injected(f.Name(), f.Target(), losses(f)...)
	f.Inject(s)
}

// losses are the buckets that lose content by a fault.
func losses(f Fault) []string {
	if l, ok := f.(Loser); ok {
		return l.Loses()
	}
	return nil
}

// Heal records that a fault is healed, and heals it. No bucket loses anything by that.
func Heal(s *lab.Stack, f Fault) {
	s.T().Helper()
	s.Healed(f.Name(), f.Target())
	f.Heal(s)
}
