package fault

import "harmony.dev/e2e/lab"

// Unplug takes processes off the network: what is sent is lost without a word, and nothing says that nobody is there.
// Healed, they are on it again.
type Unplug []*lab.Instance

// Name implements [Fault].
func (Unplug) Name() string { return "unplug" }

// Target implements [Fault].
func (u Unplug) Target() string { return names(u) }

// Needs implements [Fault].
func (Unplug) Needs() []lab.Ability { return []lab.Ability{lab.Cuts} }

// Inject implements [Fault].
func (u Unplug) Inject(*lab.Stack) {
	for _, i := range u {
		i.NATS.Swallow(true)
	}
}

// Heal implements [Fault].
func (u Unplug) Heal(*lab.Stack) {
	for _, i := range u {
		i.NATS.Swallow(false)
	}
}
