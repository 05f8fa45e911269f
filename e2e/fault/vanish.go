package fault

import (
	"fmt"
	"strings"

	"harmony.dev/e2e/lab"
)

// Vanish makes resources vanish without a deletion that anybody could have seen: their finalizers are
// stripped by hand, and then they are gone at once.
type Vanish struct {
	Kind  string
	Names []string
}

// Name implements [Fault].
func (Vanish) Name() string { return "vanish" }

// Target implements [Fault].
func (v Vanish) Target() string { return fmt.Sprintf("%s %s", v.Kind, strings.Join(v.Names, " ")) }

// Needs implements [Fault].
func (Vanish) Needs() []lab.Ability { return nil }

// Inject implements [Fault].
func (v Vanish) Inject(s *lab.Stack) {
	for _, name := range v.Names {
		s.API.Vanish(v.Kind, name)
	}
}

// Heal implements [Fault]: what is gone is gone.
func (Vanish) Heal(*lab.Stack) {}
