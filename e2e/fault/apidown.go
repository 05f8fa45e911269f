package fault

import "harmony.dev/e2e/lab"

// APIDown refuses a patcher's connections to the apiserver, and ends those that it has; healed, it can connect
// again.
type APIDown struct{ Patcher *lab.Instance }

// Name implements [Fault].
func (APIDown) Name() string { return "apiserver-down" }

// Target implements [Fault].
func (f APIDown) Target() string { return f.Patcher.ID() }

// Needs implements [Fault].
func (APIDown) Needs() []lab.Ability { return []lab.Ability{lab.Cuts} }

// Inject implements [Fault].
func (f APIDown) Inject(*lab.Stack) { f.Patcher.RefuseAPI() }

// Heal implements [Fault].
func (f APIDown) Heal(*lab.Stack) { f.Patcher.AcceptAPI() }
