package invariant

import (
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// observedGeneration: of one uid, status.observedGeneration never decreases from one write to the next, and no
// write makes it greater than metadata.generation. (Design, sections 3 and 5, step 5.)
//
// An apiserver that is restored from a backup goes back as a whole. So a list begins anew; and where the generation
// went back, a status above it is of the wish that is gone, and may be lowered (409 ObservedBehind of the patcher).
func observedGeneration(h *history) []Violation {
	var found []Violation
	type seen struct{ observed, generation int64 }
	last := map[string]seen{}
	for _, s := range h.statuses {
		if s.err != nil {
			continue
		}
		w := s.write
		now := seen{s.status.ObservedGeneration, w.Generation}
		before, known := last[w.UID]
		last[w.UID] = now
		if w.Kind == record.WriteListed || known && now.generation < before.generation {
			continue
		}
		wasAbove := known && before.observed > before.generation
		if known && now.observed < before.observed && !wasAbove {
			found = append(found, violation(s.event, "%s %s: observedGeneration went back from %d to %d", fleet.KindDeployment, w.Name, before.observed, now.observed))
		}
		if s.changed && now.observed > now.generation && now.observed != before.observed {
			found = append(found, violation(s.event, "%s %s: observedGeneration %d is greater than the generation %d", fleet.KindDeployment, w.Name, now.observed, now.generation))
		}
	}
	return found
}
