package fault

import (
	"fmt"

	"harmony.dev/e2e/lab"
)

// NodeStop ends one server of a NATS cluster with SIGTERM, as a rolling restart does; healed, it is started
// again.
type NodeStop int

// Name implements [Fault].
func (NodeStop) Name() string { return "node-stop" }

// Target implements [Fault].
func (n NodeStop) Target() string { return fmt.Sprintf("nats-%d", n+1) }

// Needs implements [Fault].
func (NodeStop) Needs() []lab.Ability { return []lab.Ability{lab.Nodes} }

// Inject implements [Fault].
func (n NodeStop) Inject(s *lab.Stack) { s.NATS.StopNode(int(n)) }

// Heal implements [Fault].
func (n NodeStop) Heal(s *lab.Stack) { s.NATS.StartNode(int(n)) }
