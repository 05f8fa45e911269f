package explain_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/explain"
)

// What Groups judges by is what Explain says, whatever the selector and the labels.
func TestGroups_JudgeAsExplainDoes(t *testing.T) {
	keys, values := rapid.SampledFrom([]string{"region", "tier", "rack", "bad key"}), rapid.SampledFrom([]string{"north", "south", ""})
	rapid.Check(t, func(t *rapid.T) {
		s := fleet.Selector{MatchLabels: rapid.MapOfN(keys, values, 0, 2).Draw(t, "labels")}
		for range rapid.IntRange(0, 3).Draw(t, "expressions") {
			e := fleet.SelectorRequirement{Key: keys.Draw(t, "key"), Operator: rapid.SampledFrom([]string{"In", "NotIn", "Exists", "DoesNotExist", "Like"}).Draw(t, "operator")}
			if e.Operator == "In" || e.Operator == "NotIn" {
				e.Values = rapid.SliceOfN(values, 1, 2).Draw(t, "values")
			}
			s.MatchExpressions = append(s.MatchExpressions, e)
		}
		var g explain.Groups
		want := map[string]int{}
		for range 3 {
			in := base()
			in.Deployment.Selector = s
			in.Device.Resource.Labels = rapid.MapOf(keys, values).Draw(t, "labels of a device")
			if rapid.Bool().Draw(t, "not desired") {
				undesired(&in)
			}
			if rapid.Bool().Draw(t, "another selector") {
				in.Deployment.Selector.MatchLabels = map[string]string{"tier": "south"}
			}
			g.Add(in)
			e := explain.Explain(in)
			want[e.Verdict+e.Next]++
		}
		got := map[string]int{}
		for _, v := range g.List() {
			got[v.Verdict+v.Next] += v.Count
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// A large selector is compiled once, not for each device.
func TestGroups_CompileOnce(t *testing.T) {
	in := base()
	in.Deployment.Selector = large()
	undesired(&in)
	for name, labels := range map[string]map[string]string{
		"it matches":      {"region": "north"},
		"it does not":     {"region": "south"},
		"it has key-63":   {"region": "north", "key-63": "value-1"},
		"it has no label": nil,
	} {
		var g explain.Groups
		in.Device.Resource.Labels = labels
		const few = 500 // the whole selector takes thousands; the race detector adds some
		if n := testing.AllocsPerRun(10, func() { g.Add(in) }); n > few {
			t.Errorf("%s: %v allocations for a device", name, n)
		}
	}
}

// large is a selector of many requirements.
func large() fleet.Selector {
	s := fleet.Selector{MatchLabels: map[string]string{"region": "north"}}
	for i := range 64 {
		e := fleet.SelectorRequirement{Key: fmt.Sprintf("key-%02d", i), Operator: "NotIn"}
		for j := range 50 {
			e.Values = append(e.Values, fmt.Sprintf("value-%d", j))
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	return s
}
