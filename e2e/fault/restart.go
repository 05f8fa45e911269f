package fault

import "harmony.dev/e2e/lab"

// Restart ends processes with SIGTERM, as a rolling update does; healed, they are started again.
type Restart []*lab.Instance

// Name implements [Fault].
func (Restart) Name() string { return "restart" }

// Target implements [Fault].
func (r Restart) Target() string { return names(r) }

// Needs implements [Fault].
func (Restart) Needs() []lab.Ability { return []lab.Ability{lab.Signals} }

// Inject implements [Fault].
func (r Restart) Inject(*lab.Stack) {
	for _, i := range r {
		i.Stop()
	}
}

// Heal implements [Fault].
func (r Restart) Heal(*lab.Stack) {
	for _, i := range r {
		i.Start()
	}
}
