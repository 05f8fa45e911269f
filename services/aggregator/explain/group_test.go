package explain_test

import (
	"fmt"
	"slices"
	"testing"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/explain"
)

func TestGroups_GatherByVerdictAndReason(t *testing.T) {
	var g explain.Groups
	add := func(id fleet.DeviceID, change func(*explain.Input)) {
		in := base()
		in.Device.ID, in.Pair.Device = id, id
		change(&in)
		g.Add(in)
	}
	for i := range 7 {
		add(fleet.DeviceID(fmt.Sprintf("run-%d", i)), func(*explain.Input) {})
	}
	south := func(in *explain.Input) { undesired(in); in.Device.Resource.Labels["region"] = "south" }
	add("a", south)
	add("b", south)
	add("c", func(in *explain.Input) { undesired(in); delete(in.Device.Resource.Labels, "region") })
	add("d", func(in *explain.Input) {
		in.Pair.Class, in.Pair.Phase, in.Pair.LastError = fleet.ClassFailed, fleet.PhaseFailed, "no image"
	})

	var got []string
	for _, v := range g.List() {
		got = append(got, fmt.Sprintf("%s (%s): %d %v", v.Verdict, v.Reason, v.Count, v.Devices))
		if v.Verdict != explain.Running && v.Next == "" {
			t.Errorf("%s says not what to do", v.Verdict)
		}
	}
	want := []string{
		"Failed (no image): 1 [d]",
		"Running (): 7 [run-0 run-1 run-2 run-3 run-4]",
		`NoMatch (label region is "south", wanted "north"): 2 [a b]`,
		`NoMatch (label region is not set, wanted "north"): 1 [c]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// What devices say must not make the answer grow with the fleet.
func TestGroups_AreBounded(t *testing.T) {
	var g explain.Groups
	for i := range 1000 {
		in := base()
		in.Pair.Class, in.Pair.LastError = fleet.ClassFailed, fmt.Sprintf("error %d", i)
		g.Add(in)
	}
	list, total := g.List(), 0
	for _, v := range list {
		total += v.Count
	}
	if len(list) != fleet.MaxGroups || total != 1000 {
		t.Errorf("%d groups of %d devices", len(list), total)
	}
	if rest := list[0]; rest.Reason != "" || rest.Count != 1000-fleet.MaxGroups+1 {
		t.Errorf("the rest is %+v", rest)
	}
}
