package fault

import (
	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
)

// StoreWipe kills the NATS servers and starts them with nothing stored.
type StoreWipe struct{}

// Name implements [Fault].
func (StoreWipe) Name() string { return "store-wipe" }

// Target implements [Fault].
func (StoreWipe) Target() string { return "NATS" }

// Loses implements [Loser].
func (StoreWipe) Loses() []string { return record.Buckets() }

// Needs implements [Fault].
func (StoreWipe) Needs() []lab.Ability { return []lab.Ability{lab.Store} }

// Inject implements [Fault].
func (StoreWipe) Inject(s *lab.Stack) {
	s.T().Helper()
	s.NATS.Kill()
	s.NATS.WipeStore()
	s.NATS.Start()
}

// Heal implements [Fault]. Nobody but the product puts it right.
func (StoreWipe) Heal(*lab.Stack) {}
