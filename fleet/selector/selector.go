// Package selector says which devices a selector hits.
//
// A [fleet.Selector] is compiled once into a [Matcher] and then asked about many label sets. What
// matches, and which selectors are refused, is exactly what Kubernetes says: the requirements are
// those of k8s.io/apimachinery, built as its LabelSelectorAsSelector builds them. An [Index] finds
// the matchers that can match a label set at all, so that a changed label touches only what it affects.
package selector

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"harmony.dev/fleet"
)

// Matcher is a compiled selector. It is immutable and safe for concurrent use. The zero Matcher
// matches nothing.
type Matcher struct {
	selector labels.Selector
	anchor   anchor
}

// Compile compiles a selector. The empty selector matches every device. The error wraps
// [fleet.ErrInvalid] and says which requirement is wrong and why.
func Compile(s fleet.Selector) (Matcher, error) {
	requirements := make([]labels.Requirement, 0, len(s.MatchLabels)+len(s.MatchExpressions))
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		r, err := labels.NewRequirement(key, selection.Equals, []string{s.MatchLabels[key]})
		if err != nil {
			return Matcher{}, fmt.Errorf("%w selector: matchLabels %.80q: %w", fleet.ErrInvalid, key, err)
		}
		requirements = append(requirements, *r)
	}
	for i, e := range s.MatchExpressions {
		r, err := requirement(e)
		if err != nil {
			return Matcher{}, fmt.Errorf("%w selector: matchExpressions[%d] %.80q: %w", fleet.ErrInvalid, i, e.Key, err)
		}
		requirements = append(requirements, *r)
	}
	return Matcher{selector: labels.NewSelector().Add(requirements...), anchor: anchorOf(requirements)}, nil
}

// Matches reports whether labels satisfy the selector. It allocates nothing.
func (m Matcher) Matches(set map[string]string) bool {
	return m.selector != nil && m.selector.Matches(labels.Set(set))
}

func requirement(e fleet.SelectorRequirement) (*labels.Requirement, error) {
	op, err := operator(e.Operator)
	if err != nil {
		return nil, err
	}
	return labels.NewRequirement(e.Key, op, slices.Clone(e.Values))
}

func operator(s string) (selection.Operator, error) {
	switch s {
	case "In":
		return selection.In, nil
	case "NotIn":
		return selection.NotIn, nil
	case "Exists":
		return selection.Exists, nil
	case "DoesNotExist":
		return selection.DoesNotExist, nil
	}
	return "", fmt.Errorf("operator %.40q is not In, NotIn, Exists or DoesNotExist", s)
}
