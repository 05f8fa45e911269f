package projection

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"harmony.dev/fleet"
)

// LimitUnclaimed sets what is [MaxUnclaimed] otherwise.
func (s *State) LimitUnclaimed(n int) { s.maxUnclaimed = n }

// Askers returns the devices that ask, sorted.
func (s *State) Askers() []fleet.DeviceID {
	var out []fleet.DeviceID
	for d := range maps.Keys(s.asking) {
		out = append(out, d.id)
	}
	slices.Sort(out)
	return out
}

// Orphans returns the keys that belong to nothing, sorted.
func (s *State) Orphans() []string {
	out := []string{}
	for p := s.orphans.first; p != nil; p = p.behind {
		out = append(out, p.item.export().Key)
	}
	slices.Sort(out)
	return out
}

// CheckEmpty tells what the State still holds inside.
func (s *State) CheckEmpty() error {
	for what, n := range map[string]int{
		"devices":     len(s.devices),
		"deployments": len(s.deployments),
		"wishes":      len(s.wishes),
		"fresh":       len(s.fresh.items),
		"stale":       len(s.stale.items),
		"dirty":       len(s.dirty),
		"changed":     len(s.changed),
		"asking":      len(s.asking),
		"leaving":     len(s.leaving),
	} {
		if n > 0 {
			return fmt.Errorf("%d %s left", n, what)
		}
	}
	if s.unasked.first != nil || s.unasked.last != nil || s.orphans.first != nil || s.orphans.last != nil {
		return errors.New("somebody stands in line")
	}
	return nil
}
