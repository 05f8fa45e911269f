package fault

import (
	"fmt"
	"strings"

	"harmony.dev/e2e/lab"
)

// Kill ends processes with SIGKILL; healed, they are started again.
type Kill []*lab.Instance

// Name implements [Fault].
func (Kill) Name() string { return "kill" }

// Target implements [Fault].
func (k Kill) Target() string { return names(k) }

// Needs implements [Fault].
func (Kill) Needs() []lab.Ability { return []lab.Ability{lab.Signals} }

// Inject implements [Fault].
func (k Kill) Inject(*lab.Stack) {
	for _, i := range k {
		i.Kill()
	}
}

// Heal implements [Fault].
func (k Kill) Heal(*lab.Stack) {
	for _, i := range k {
		i.Start()
	}
}

// names are the ids of instances with their process ids, and those of their containers.
func names(all []*lab.Instance) string {
	var out []string
	for _, i := range all {
		where := fmt.Sprintf("pid %d", i.Pid())
		if id := i.Container(); id != "" {
			where = fmt.Sprintf("container %.12s, %s", id, where)
		}
		out = append(out, fmt.Sprintf("%s (%s)", i.ID(), where))
	}
	return strings.Join(out, ", ")
}
