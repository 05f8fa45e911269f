package fault

import (
	"fmt"
	"strings"

	"harmony.dev/e2e/lab"
)

// LabelLoss takes a label from Devices, one after the other; healed, they have it again.
type LabelLoss struct {
	Devices    []string
	Key, Value string
}

// Name implements [Fault].
func (LabelLoss) Name() string { return "label-loss" }

// Target implements [Fault].
func (l LabelLoss) Target() string {
	return fmt.Sprintf("%s of %s", l.Key, strings.Join(l.Devices, " "))
}

// Needs implements [Fault].
func (LabelLoss) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (l LabelLoss) Inject(s *lab.Stack) { l.set(s, "") }

// Heal implements [Fault].
func (l LabelLoss) Heal(s *lab.Stack) { l.set(s, l.Value) }

func (l LabelLoss) set(s *lab.Stack, value string) {
	for _, device := range l.Devices {
		s.API.Label(device, l.Key, value)
	}
}
