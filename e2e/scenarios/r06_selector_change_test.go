package scenarios

import (
	"maps"
	"slices"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   the selector is edited while all services are down (SIGKILL): widened, narrowed, swapped.
// Promise: the keys put and deleted are exactly the difference; unchanged keys keep their revision.
// Budget:  correct within 20 s of the start.
// Found:   -
func TestR06_SelectorChangeWhileDown(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to fleet.Selector
		stay     int
		puts     int
		deletes  int
	}{
		{"widened", region("north"), region("north", "east"), 3, 3, 0},
		{"narrowed", region("north", "east"), region("north"), 3, 0, 3},
		{"swapped", region("north"), region("south"), 0, 3, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := lab.New(t, lab.Options{})
			services := s.StartServices()
			s.StartDevices(12)
			registered(t, s, 12)
			s.API.Apply(deployment("web", c.from))
			s.API.Apply(deployment("other", region("west")))
			settled(t, s, "web", counts(c.stay+c.deletes, c.stay+c.deletes, 0, 0, 0), fleet.ConditionTrue)
			settled(t, s, "other", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
			before := s.AtRest().Keys[fleet.BucketDesiredState]

			fault.Inject(s, fault.Kill(services))
			s.API.Apply(deployment("web", c.to))
			fault.Heal(s, fault.Kill(services))
			start := time.Now()

			settled(t, s, "web", counts(c.stay+c.puts, c.stay+c.puts, 0, 0, 0), fleet.ConditionTrue)
			s.Measured("correct after the start", time.Since(start), 20*time.Second)
			after := s.AtRest().Keys[fleet.BucketDesiredState]
			put, deleted, kept := sets(before, after)
			if len(put) != c.puts || len(deleted) != c.deletes {
				t.Errorf("put %v and deleted %v, want %d and %d keys", put, deleted, c.puts, c.deletes)
			}
			for _, key := range kept {
				if before[key] != after[key] {
					t.Errorf("%s was rewritten: %v became %v", key, before[key], after[key])
				}
			}
		})
	}
}

func sets(before, after map[string]lab.Entry) (put, deleted, kept []string) {
	for _, k := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[k]; ok {
			kept = append(kept, k)
		} else {
			deleted = append(deleted, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[k]; !ok {
			put = append(put, k)
		}
	}
	return put, deleted, kept
}
