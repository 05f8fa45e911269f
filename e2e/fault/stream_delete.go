package fault

import (
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// StreamDelete deletes the stream of a bucket. The owner is to create it again.
type StreamDelete string

// Name implements [Fault].
func (StreamDelete) Name() string { return "stream-delete" }

// Target implements [Fault].
func (b StreamDelete) Target() string { return string(b) }

// Loses implements [Loser].
func (b StreamDelete) Loses() []string { return []string{string(b)} }

// Needs implements [Fault].
func (StreamDelete) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (b StreamDelete) Inject(s *lab.Stack) {
	s.T().Helper()
	if err := s.NATS.JetStream().DeleteStream(s.T().Context(), fleet.StreamName(string(b))); err != nil {
		s.T().Fatalf("delete the stream of %s: %v", b, err)
	}
}

// Heal implements [Fault]. Nobody but the product puts it right.
func (StreamDelete) Heal(*lab.Stack) {}
