package fault

import "harmony.dev/e2e/lab"

// RefuseNATS keeps processes from reaching NATS until healed: connections are refused.
type RefuseNATS []*lab.Instance

// Name implements [Fault].
func (RefuseNATS) Name() string { return "nats-refused" }

// Target implements [Fault].
func (r RefuseNATS) Target() string { return names(r) }

// Needs implements [Fault].
func (RefuseNATS) Needs() []lab.Ability { return []lab.Ability{lab.Cuts} }

// Inject implements [Fault].
func (r RefuseNATS) Inject(*lab.Stack) {
	for _, i := range r {
		i.NATS.Refuse()
	}
}

// Heal implements [Fault].
func (r RefuseNATS) Heal(*lab.Stack) {
	for _, i := range r {
		i.NATS.Accept()
	}
}
