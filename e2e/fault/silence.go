package fault

import "harmony.dev/e2e/lab"

// Silence cuts the devices of simulators off on their side of the network; healed, they may connect again.
type Silence []*lab.Instance

// Name implements [Fault].
func (Silence) Name() string { return "silence" }

// Target implements [Fault].
func (f Silence) Target() string { return names(f) }

// Inject implements [Fault].
func (f Silence) Inject(*lab.Stack) {
	for _, i := range f {
		i.NATS.Refuse()
	}
}

// Heal implements [Fault].
func (f Silence) Heal(*lab.Stack) {
	for _, i := range f {
		i.NATS.Accept()
	}
}
