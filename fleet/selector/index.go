package selector

import (
	"iter"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// label is one label of a device.
type label struct{ key, value string }

// anchor is the label that a selector cannot match without: one of these values under this key. It
// has no values when the selector names none.
type anchor struct {
	key    string
	values []string
}

// anchorOf picks the equality requirement with the fewest values.
func anchorOf(requirements []labels.Requirement) anchor {
	var best anchor
	for i := range requirements {
		r := &requirements[i]
		switch r.Operator() {
		case selection.Equals, selection.In:
		default:
			continue
		}
		if values := r.Values(); best.values == nil || values.Len() < len(best.values) {
			best = anchor{r.Key(), values.List()}
		}
	}
	return best
}

// Index holds matchers by name and finds those that can match a label set: the ones anchored on a
// label of the set, and the ones without an anchor. It is not safe for concurrent use.
type Index[K comparable] struct {
	anchored map[label]map[K]struct{}
	free     map[K]struct{}
	anchors  map[K]anchor
}

// NewIndex returns an empty index.
func NewIndex[K comparable]() *Index[K] {
	return &Index[K]{
		anchored: map[label]map[K]struct{}{},
		free:     map[K]struct{}{},
		anchors:  map[K]anchor{},
	}
}

// Set adds a matcher under a name, or replaces it.
func (x *Index[K]) Set(name K, m Matcher) {
	x.Remove(name)
	x.anchors[name] = m.anchor
	if len(m.anchor.values) == 0 {
		x.free[name] = struct{}{}
		return
	}
	for _, v := range m.anchor.values {
		l := label{m.anchor.key, v}
		if x.anchored[l] == nil {
			x.anchored[l] = map[K]struct{}{}
		}
		x.anchored[l][name] = struct{}{}
	}
}

// Remove takes a name out. Removing an unknown name does nothing.
func (x *Index[K]) Remove(name K) {
	a, ok := x.anchors[name]
	if !ok {
		return
	}
	delete(x.anchors, name)
	delete(x.free, name)
	for _, v := range a.values {
		l := label{a.key, v}
		if delete(x.anchored[l], name); len(x.anchored[l]) == 0 {
			delete(x.anchored, l)
		}
	}
}

// Candidates yields, each once and in no particular order, the names whose matcher may match the
// labels. Every name whose matcher does match is among them.
func (x *Index[K]) Candidates(set map[string]string) iter.Seq[K] {
	return func(yield func(K) bool) {
		for name := range x.free {
			if !yield(name) {
				return
			}
		}
		for k, v := range set {
			for name := range x.anchored[label{k, v}] {
				if !yield(name) {
					return
				}
			}
		}
	}
}
