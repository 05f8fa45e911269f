package fault

import (
	"fmt"
	"time"

	"harmony.dev/e2e/lab"
)

// APIAnswer answers all that a patcher asks the apiserver with an HTTP status, 429 or 500 for example.
type APIAnswer struct {
	Patcher    *lab.Instance
	Status     int
	RetryAfter time.Duration // sent along unless it is 0
}

// Name implements [Fault].
func (f APIAnswer) Name() string { return fmt.Sprintf("apiserver-answers-%d", f.Status) }

// Target implements [Fault].
func (f APIAnswer) Target() string { return f.Patcher.ID() }

// Needs implements [Fault].
func (APIAnswer) Needs() []lab.Ability { return []lab.Ability{lab.Proxies} }

// Inject implements [Fault].
func (f APIAnswer) Inject(*lab.Stack) { f.Patcher.Kube.Answer(f.Status, f.RetryAfter) }

// Heal implements [Fault].
func (f APIAnswer) Heal(*lab.Stack) { f.Patcher.Kube.Answer(0, 0) }
