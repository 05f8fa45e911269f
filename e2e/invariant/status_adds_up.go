package invariant

import (
	"harmony.dev/fleet"
)

// statusAddsUp: in every recorded status of a Deployment no count is negative, matched = running + failed +
// pending + stale, and stale is the sum of staleLastKnown ([fleet.Aggregate.Validate]). Ready is True only with
// nothing failed or pending and each stale pair last heard of running, and then neither Reconciling nor Stalled
// is. (Design, section 3.)
func statusAddsUp(h *history) []Violation {
	var found []Violation
	for i := range h.statuses {
		s := &h.statuses[i]
		if message := s.addsUp(); message != "" {
			found = append(found, violation(s.event, "status of Deployment %s: %s", s.write.Name, message))
		}
	}
	return found
}

// addsUp returns what is wrong with a status by itself.
func (s *statusWrite) addsUp() string {
	if s.err != nil {
		return text("it cannot be read: %v", s.err)
	}
	a := s.status.Aggregate
	if err := a.Validate(); err != nil {
		return err.Error()
	}
	is := func(kind string) bool { return conditionOf(&s.status, kind).Status == fleet.ConditionTrue }
	switch {
	case !is(fleet.ConditionReady):
		return ""
	case a.Failed+a.Pending > 0 || a.StaleLastKnown.Running < a.Stale:
		return text("it says Ready with %d failed, %d pending, and %d of %d stale ones last heard of running", a.Failed, a.Pending, a.StaleLastKnown.Running, a.Stale)
	case is(fleet.ConditionReconciling) || is(fleet.ConditionStalled):
		return "it says Ready, and Reconciling or Stalled"
	}
	return ""
}
