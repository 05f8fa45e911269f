package fault

import "harmony.dev/e2e/lab"

// APIKill ends the apiserver of a stack with [lab.Options].OwnKube by SIGKILL; healed, it is started again
// and serves.
type APIKill struct{}

// Name implements [Fault].
func (APIKill) Name() string { return "apiserver-kill" }

// Target implements [Fault].
func (APIKill) Target() string { return "kubeapi" }

// Needs implements [Fault].
func (APIKill) Needs() []lab.Ability { return []lab.Ability{lab.OwnAPI} }

// Inject implements [Fault].
func (APIKill) Inject(s *lab.Stack) { s.Own.Kill() }

// Heal implements [Fault].
func (APIKill) Heal(s *lab.Stack) { s.Own.Start() }
