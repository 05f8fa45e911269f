package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
)

// requirement is one of those that a selector has, compiled.
type requirement struct {
	only fleet.Selector // has this one alone
	key  string
	met  func(labels map[string]string) bool
}

// requirements returns those of a selector: the labels by key, then the expressions.
func requirements(s fleet.Selector) ([]requirement, error) {
	if _, err := selector.Compile(s); err != nil {
		return nil, err
	}
	var out []requirement
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		out = append(out, labelRequirement(key, s.MatchLabels[key]))
	}
	for _, e := range s.MatchExpressions {
		only := fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{e}}
		m, err := selector.Compile(only)
		if err != nil {
			return nil, err
		}
		out = append(out, requirement{only: only, key: e.Key, met: m.Matches})
	}
	return out, nil
}

func labelRequirement(key, want string) requirement {
	return requirement{
		only: fleet.Selector{MatchLabels: map[string]string{key: want}}, key: key,
		met: func(labels map[string]string) bool {
			got, ok := labels[key]
			return ok && got == want
		},
	}
}

// missed says in words that labels do not meet the requirement.
func (r requirement) missed(labels map[string]string) string {
	if len(r.only.MatchExpressions) == 0 {
		return fmt.Sprintf("label %s is %s, wanted %q", r.key, shown(labels, r.key), r.only.MatchLabels[r.key])
	}
	return fmt.Sprintf("label %s is %s, wanted %s", r.key, shown(labels, r.key), wanted(r.only.MatchExpressions[0]))
}

// mismatches returns the requirements of a selector that the labels do not meet, in words.
func mismatches(s fleet.Selector, labels map[string]string) ([]string, error) {
	all, err := requirements(s)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range all {
		if !r.met(labels) {
			out = append(out, r.missed(labels))
		}
	}
	return out, nil
}

func shown(labels map[string]string, key string) string {
	if v, ok := labels[key]; ok {
		return fmt.Sprintf("%q", v)
	}
	return "not set"
}

func wanted(e fleet.SelectorRequirement) string {
	switch e.Operator {
	case "Exists":
		return "any value"
	case "DoesNotExist":
		return "none"
	case "NotIn":
		return "none of " + strings.Join(e.Values, ", ")
	}
	return "one of " + strings.Join(e.Values, ", ")
}
