package query

import (
	"cmp"
	"slices"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// newest returns the last changes of a Deployment, the newest first. It looks at each pair while the view is locked,
// so it keeps few.
func newest(s *projection.State, d projection.Deployment) []fleet.Change {
	kept := make([]fleet.Change, 0, 2*fleet.MaxChanges)
	if d.Applied != nil && d.Applied.UID == d.UID {
		kept = append(kept, fleet.Change{At: d.AppliedAt, Kind: fleet.ChangeApplied, Generation: d.Applied.Generation})
	}
	for c := range s.ChangesOf(d.Name) {
		if len(kept) == cap(kept) {
			kept = firstChanges(kept)
		}
		if len(kept) < fleet.MaxChanges || compareChanges(c, kept[fleet.MaxChanges-1]) < 0 {
			kept = append(kept, c)
		}
	}
	return firstChanges(kept)
}

func firstChanges(cs []fleet.Change) []fleet.Change {
	slices.SortFunc(cs, compareChanges)
	return cs[:min(len(cs), fleet.MaxChanges)]
}

// compareChanges orders the newest first. Messages of one batch have nearly the same stamp.
func compareChanges(a, b fleet.Change) int {
	return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Device, b.Device))
}
