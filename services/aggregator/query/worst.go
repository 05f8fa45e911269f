package query

import (
	"cmp"
	"container/heap"
	"slices"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// worst returns the desired pairs of a Deployment, those that need a look first, at most fleet.MaxLimit.
// It looks at each pair of the Deployment while the view is locked, so it keeps and sorts only what is shown.
func worst(s *projection.State, name fleet.DeploymentName) (pairs []fleet.PairView, truncated bool) {
	var shown ranks
	for id, class := range s.ClassesFor(name) {
		if !shown.offer(rank{concern(class), id}) {
			truncated = true
		}
	}
	slices.SortFunc(shown, rank.compare)
	pairs = make([]fleet.PairView, 0, len(shown))
	for _, r := range shown {
		p, _ := s.Pair(fleet.Pair{Device: r.device, Deployment: name})
		pairs = append(pairs, p.PairView)
	}
	return pairs, truncated
}

// rank says how soon a pair of a Deployment is shown.
type rank struct {
	concern int
	device  fleet.DeviceID
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.concern, o.concern), cmp.Compare(r.device, o.device))
}

// ranks is a heap of the first fleet.MaxLimit ranks, the last of them on top.
type ranks []rank

// offer takes a rank in. It reports false when one was left out, this or another.
func (h *ranks) offer(r rank) bool {
	if len(*h) < fleet.MaxLimit {
		heap.Push(h, r)
		return true
	}
	if r.compare((*h)[0]) < 0 {
		(*h)[0] = r
		heap.Fix(h, 0)
	}
	return false
}

// Len implements heap.Interface.
func (h ranks) Len() int { return len(h) }

// Less implements heap.Interface.
func (h ranks) Less(i, j int) bool { return h[i].compare(h[j]) > 0 }

// Swap implements heap.Interface.
func (h ranks) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *ranks) Push(r any) { *h = append(*h, r.(rank)) }

// Pop implements heap.Interface.
func (h *ranks) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func concern(c fleet.Class) int {
	switch c {
	case fleet.ClassFailed:
		return 0
	case fleet.ClassStale:
		return 1
	case fleet.ClassPending:
		return 2
	case fleet.ClassRunning:
	}
	return 3
}
