package fault

import "harmony.dev/e2e/lab"

// Pause stops processes with SIGSTOP, as a machine that hangs does; healed, they go on.
type Pause []*lab.Instance

// Name implements [Fault].
func (Pause) Name() string { return "pause" }

// Target implements [Fault].
func (p Pause) Target() string { return names(p) }

// Needs implements [Fault].
func (Pause) Needs() []lab.Ability { return []lab.Ability{lab.Signals} }

// Inject implements [Fault].
func (p Pause) Inject(*lab.Stack) {
	for _, i := range p {
		i.Pause()
	}
}

// Heal implements [Fault].
func (p Pause) Heal(*lab.Stack) {
	for _, i := range p {
		i.Continue()
	}
}
