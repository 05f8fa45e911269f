package fault

import "harmony.dev/e2e/lab"

// NoJetStream restarts all NATS servers without JetStream; healed, with it, on the stores that they had.
type NoJetStream struct{}

// Name implements [Fault].
func (NoJetStream) Name() string { return "no-jetstream" }

// Target implements [Fault].
func (NoJetStream) Target() string { return "nats-server" }

// Needs implements [Fault].
func (NoJetStream) Needs() []lab.Ability { return []lab.Ability{lab.Store, lab.Config} }

// Inject implements [Fault].
func (NoJetStream) Inject(s *lab.Stack) { s.NATS.RestartWithJetStream(false) }

// Heal implements [Fault].
func (NoJetStream) Heal(s *lab.Stack) { s.NATS.RestartWithJetStream(true) }
