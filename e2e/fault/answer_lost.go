package fault

import (
	"bytes"
	"sync/atomic"
	"time"

	"harmony.dev/e2e/lab"
)

// AnswerLost lets a request of a process be carried out and its answer be lost: from the first piece on in which
// the server sends it this text, nothing passes any more. Healed, its connections are new ones.
type AnswerLost struct {
	Of    *lab.Instance
	Text  string // of the answer
	After string // that the process has to send first; "" for nothing

	armed atomic.Bool
	lost  chan struct{}
	once  atomic.Bool
}

// Name implements [Fault].
func (*AnswerLost) Name() string { return "answer-lost" }

// Target implements [Fault].
func (a *AnswerLost) Target() string { return a.Of.ID() }

// Needs implements [Fault].
func (*AnswerLost) Needs() []lab.Ability { return []lab.Ability{lab.Proxies} }

// Inject implements [Fault].
func (a *AnswerLost) Inject(*lab.Stack) {
	a.lost = make(chan struct{})
	a.armed.Store(a.After == "")
	a.Of.NATS.Filter(func(b []byte) bool {
		if !a.armed.Load() && bytes.Contains(b, []byte(a.After)) {
			a.armed.Store(true)
		}
		return true
	}, func(b []byte) bool {
		if a.armed.Load() && bytes.Contains(b, []byte(a.Text)) && a.once.CompareAndSwap(false, true) {
			a.Of.NATS.Swallow(true)
			close(a.lost)
			return false
		}
		return true
	})
}

// Await waits until an answer was lost.
func (a *AnswerLost) Await(s *lab.Stack, within time.Duration) {
	s.T().Helper()
	select {
	case <-a.lost:
	case <-time.After(within):
		s.T().Fatalf("the server sent %s no %q within %s", a.Of.ID(), a.Text, within)
	}
}

// Heal implements [Fault].
func (a *AnswerLost) Heal(*lab.Stack) {
	a.Of.NATS.Filter(nil, nil)
	a.Of.NATS.Cut()
	a.Of.NATS.Swallow(false)
}
