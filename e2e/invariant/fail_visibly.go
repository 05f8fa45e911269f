package invariant

import (
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// failVisibly: a process ends only when the scenario made it, or said that it must; told to with SIGTERM it ends
// with exit code 0. An instance that is not ready, or degraded, or held, gives a reason. That it is starting or
// replaying says why by itself. (Design, section 7.)
func failVisibly(h *history) []Violation {
	var found []Violation
	told := map[string]record.ProcessKind{} // by instance: what the scenario last did to end it
	for i, e := range h.events {
		switch p := e.Process; {
		case p == nil:
		case p.Kind == record.ProcessStarted:
			delete(told, p.Instance)
		case p.Kind == record.ProcessStopping && told[p.Instance] == "", p.Kind == record.ProcessKilled:
			told[p.Instance] = p.Kind
		case p.Kind == record.ProcessExited && told[p.Instance] == "" && !p.Expected:
			found = append(found, violation(i, "%s %s ended by itself: %s", p.Service, p.Instance, exit(p)))
		case p.Kind == record.ProcessExited && told[p.Instance] == record.ProcessStopping && p.Exit != "":
			found = append(found, violation(i, "%s %s was told to end and did so with: %s", p.Service, p.Instance, exit(p)))
		}
		if s := e.Health; s != nil && mute(s) {
			found = append(found, violation(i, "%s %s is %s, ready %v, without a reason", s.Service, s.Instance, s.State, s.Ready))
		}
	}
	return found
}

func exit(p *record.Process) string {
	if p.Exit == "" {
		return "exit code 0"
	}
	return p.Exit
}

// mute reports whether an instance is not well and does not say why.
func mute(s *record.Health) bool {
	switch s.State {
	case fleet.StateStarting, fleet.StateReplaying:
		return false
	case fleet.StateDegraded, fleet.StateHeld:
		return len(s.Reasons) == 0
	case fleet.StateConverging, fleet.StateReady:
	}
	return !s.Ready && len(s.Reasons) == 0
}
