package fault

import "harmony.dev/e2e/lab"

// KillNATS ends all NATS servers with SIGKILL; healed, they are started again on their stores.
type KillNATS struct{}

// Name implements [Fault].
func (KillNATS) Name() string { return "nats-kill" }

// Target implements [Fault].
func (KillNATS) Target() string { return "nats-server" }

// Needs implements [Fault].
func (KillNATS) Needs() []lab.Ability { return []lab.Ability{lab.Store} }

// Inject implements [Fault].
func (KillNATS) Inject(s *lab.Stack) { s.NATS.Kill() }

// Heal implements [Fault].
func (KillNATS) Heal(s *lab.Stack) { s.NATS.Start() }
