package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
)

// mismatches returns the requirements of a selector that the labels do not meet, in words.
func mismatches(s fleet.Selector, labels map[string]string) ([]string, error) {
	if _, err := selector.Compile(s); err != nil {
		return nil, err
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		if got, ok := labels[key]; !ok || got != s.MatchLabels[key] {
			out = append(out, fmt.Sprintf("label %s is %s, wanted %q", key, shown(labels, key), s.MatchLabels[key]))
		}
	}
	for _, e := range s.MatchExpressions {
		m, err := selector.Compile(fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{e}})
		if err != nil {
			return nil, err
		}
		if !m.Matches(labels) {
			out = append(out, fmt.Sprintf("label %s is %s, wanted %s", e.Key, shown(labels, e.Key), wanted(e)))
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

// facts lists what is known, whatever the verdict.
func facts(in Input) []string {
	out := deviceFacts(in)
	out = append(out, deploymentFacts(in)...)
	out = append(out, pairFacts(in)...)
	if h := in.Hold; h != nil {
		out = append(out, fmt.Sprintf("hold %s keeps %d deletes back, approved: %t", h.ID, h.Deletes, h.Approved))
	}
	return out
}

func deviceFacts(in Input) []string {
	d := in.Device
	seen := "never heard of"
	if d.Known {
		seen = "last seen " + stamp(d.LastSeen)
	}
	out := []string{fmt.Sprintf("device %s: %s, %s", d.ID, d.State(), seen)}
	if !d.Registered {
		out = append(out, fmt.Sprintf("device %s: no Device resource", d.ID))
	}
	if d.Resource.Invalid != "" {
		out = append(out, fmt.Sprintf("device %s: its resource cannot be mirrored: %s", d.ID, d.Resource.Invalid))
	}
	if d.InfoSpoiled {
		out = append(out, fmt.Sprintf("device %s: its last info is malformed and was set aside", d.ID))
	}
	if d.InfoDoubted {
		out = append(out, fmt.Sprintf("device %s: its info came with a backup, and its resource counts, until it reports again", d.ID))
	}
	return out
}

func deploymentFacts(in Input) []string {
	dep := in.Deployment
	if !dep.Registered {
		return nil
	}
	var out []string
	switch a := dep.Applied; {
	case a == nil:
		out = append(out, fmt.Sprintf("deployment %s: generation %d, none applied", dep.Name, dep.Generation))
	case a.UID != dep.UID:
		out = append(out, fmt.Sprintf("deployment %s: what is applied is of an earlier deployment of this name", dep.Name))
	default:
		out = append(out, fmt.Sprintf("deployment %s: generation %d, applied %d", dep.Name, dep.Generation, a.Generation))
	}
	if !in.Device.Registered || in.Device.Resource.Invalid != "" {
		return out
	}
	misses, err := mismatches(dep.Selector, in.Device.Resource.Labels)
	switch {
	case err != nil:
		return append(out, fmt.Sprintf("selector of %s: %v", dep.Name, err))
	case len(misses) == 0:
		return append(out, fmt.Sprintf("selector of %s: matches the labels of device %s", dep.Name, in.Device.ID))
	}
	for _, m := range misses {
		out = append(out, fmt.Sprintf("selector of %s: %s", dep.Name, m))
	}
	return out
}

func pairFacts(in Input) []string {
	p := in.Pair
	var out []string
	switch {
	case p.Desired && p.Trusted:
		out = append(out, "desired hash "+p.DesiredHash)
	case p.Desired:
		out = append(out, "desired, by a value that cannot be trusted")
	default:
		out = append(out, "not in desired-state")
	}
	if !p.Reported {
		return append(out, "no report")
	}
	if p.Phase != "" {
		out = append(out, fmt.Sprintf("reported %s at %s (the device's clock) about hash %s", p.Phase, p.LastEventAt, p.ObservedHash))
	}
	if p.Spoiled {
		out = append(out, "the last report is malformed and was set aside")
	}
	if p.LastError != "" {
		out = append(out, "error: "+p.LastError)
	}
	return out
}
