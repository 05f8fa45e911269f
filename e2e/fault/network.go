package fault

import "harmony.dev/e2e/lab"

// CutNATS ends the connections of processes to NATS once; they may connect again at once.
type CutNATS []*lab.Instance

// Name implements [Fault].
func (CutNATS) Name() string { return "nats-cut" }

// Target implements [Fault].
func (c CutNATS) Target() string { return names(c) }

// Inject implements [Fault].
func (c CutNATS) Inject(*lab.Stack) {
	for _, i := range c {
		i.NATS.Cut()
	}
}

// Heal implements [Fault]: the processes connect again by themselves.
func (CutNATS) Heal(*lab.Stack) {}

// RefuseNATS keeps processes from reaching NATS until healed: connections are refused.
type RefuseNATS []*lab.Instance

// Name implements [Fault].
func (RefuseNATS) Name() string { return "nats-refused" }

// Target implements [Fault].
func (r RefuseNATS) Target() string { return names(r) }

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

// RefuseKube keeps patchers from reaching the apiserver until healed: connections are refused.
type RefuseKube []*lab.Instance

// Name implements [Fault].
func (RefuseKube) Name() string { return "apiserver-refused" }

// Target implements [Fault].
func (r RefuseKube) Target() string { return names(r) }

// Inject implements [Fault].
func (r RefuseKube) Inject(*lab.Stack) {
	for _, i := range r {
		i.Kube.Refuse()
	}
}

// Heal implements [Fault].
func (r RefuseKube) Heal(*lab.Stack) {
	for _, i := range r {
		i.Kube.Accept()
	}
}
