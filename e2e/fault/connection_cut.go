package fault

import "harmony.dev/e2e/lab"

// ConnectionCut ends all connections of processes to NATS once. They come again by themselves.
type ConnectionCut []*lab.Instance

// Name implements [Fault].
func (ConnectionCut) Name() string { return "connection-cut" }

// Target implements [Fault].
func (c ConnectionCut) Target() string { return names(c) }

// Needs implements [Fault].
func (ConnectionCut) Needs() []lab.Ability { return []lab.Ability{lab.Cuts} }

// Inject implements [Fault].
func (c ConnectionCut) Inject(*lab.Stack) {
	for _, i := range c {
		i.NATS.Cut()
	}
}

// Heal implements [Fault].
func (ConnectionCut) Heal(*lab.Stack) {}
