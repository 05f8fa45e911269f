package fault

import (
	"fmt"
	"time"

	"harmony.dev/e2e/lab"
)

// ConnectionDelay has everything between a process and NATS arrive later by so much; healed, at once again.
type ConnectionDelay struct {
	Instance *lab.Instance
	By       time.Duration
}

// Name implements [Fault].
func (ConnectionDelay) Name() string { return "connection-delay" }

// Target implements [Fault].
func (d ConnectionDelay) Target() string { return fmt.Sprintf("%s by %s", d.Instance.ID(), d.By) }

// Needs implements [Fault].
func (ConnectionDelay) Needs() []lab.Ability { return []lab.Ability{lab.Proxies} }

// Inject implements [Fault].
func (d ConnectionDelay) Inject(*lab.Stack) { d.Instance.NATS.Delay(d.By) }

// Heal implements [Fault].
func (d ConnectionDelay) Heal(*lab.Stack) { d.Instance.NATS.Delay(0) }
