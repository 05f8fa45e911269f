package fault

import (
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// StreamPurge removes every message of a bucket's stream. The server tells nobody.
type StreamPurge string

// Name implements [Fault].
func (StreamPurge) Name() string { return "stream-purge" }

// Target implements [Fault].
func (b StreamPurge) Target() string { return string(b) }

// Loses implements [Loser].
func (b StreamPurge) Loses() []string { return []string{string(b)} }

// Needs implements [Fault].
func (StreamPurge) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (b StreamPurge) Inject(s *lab.Stack) {
	t := s.T()
	t.Helper()
	stream, err := s.NATS.JetStream().Stream(t.Context(), fleet.StreamName(string(b)))
	if err == nil {
		err = stream.Purge(t.Context())
	}
	if err != nil {
		t.Fatalf("purge the stream of %s: %v", b, err)
	}
}

// Heal implements [Fault]. Nobody but the product puts it right.
func (StreamPurge) Heal(*lab.Stack) {}
