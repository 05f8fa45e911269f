package status_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/status"
)

var (
	early = time.Date(2026, 1, 1, 0, 0, 0, 123, time.UTC)
	late  = early.Add(time.Hour)
)

func wanted(ready fleet.ConditionStatus, running int) fleet.DeploymentStatus {
	return fleet.DeploymentStatus{
		ObservedGeneration: 2,
		Aggregate:          fleet.Aggregate{MatchedDeviceCount: 2, Running: running, Pending: 2 - running},
		Conditions: []fleet.Condition{
			{Type: fleet.ConditionReady, Status: ready, Reason: "R", Message: "m", ObservedGeneration: 2},
			{Type: fleet.ConditionStalled, Status: fleet.ConditionFalse, Reason: "P", ObservedGeneration: 2},
		},
	}
}

// written returns the status after a patch was applied to it (RFC 7396), as the apiserver would have it.
func written(t interface{ Fatal(...any) }, stored, patch map[string]any) map[string]any {
	b, err := json.Marshal(merge(stored, patch))
	if err != nil {
		t.Fatal(err)
	}
	var after map[string]any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&after); err != nil {
		t.Fatal(err)
	}
	return after
}

func merge(to, patch map[string]any) map[string]any {
	merged := map[string]any{}
	for name, v := range to {
		merged[name] = v
	}
	for name, v := range patch {
		sub, isObject := v.(map[string]any)
		switch {
		case v == nil:
			delete(merged, name)
		case isObject:
			before, _ := merged[name].(map[string]any)
			merged[name] = merge(before, sub)
		default:
			merged[name] = v
		}
	}
	return merged
}

func deployment(t *testing.T, stored map[string]any, s fleet.DeploymentStatus, now time.Time) map[string]any {
	t.Helper()
	patch, err := status.Deployment(stored, s, now)
	if err != nil {
		t.Fatal(err)
	}
	return patch
}

func transition(t *testing.T, stored map[string]any, index int) string {
	t.Helper()
	at, _ := stored["conditions"].([]any)[index].(map[string]any)["lastTransitionTime"].(string)
	return at
}

func TestDeployment_KeepsTransitionTimes(t *testing.T) {
	first := written(t, nil, deployment(t, nil, wanted(fleet.ConditionFalse, 1), early))
	if got := transition(t, first, 0); got != "2026-01-01T00:00:00Z" {
		t.Errorf("a new condition has the time %s", got)
	}
	second := written(t, first, deployment(t, first, wanted(fleet.ConditionTrue, 2), late))
	if got := transition(t, second, 0); got != "2026-01-01T01:00:00Z" {
		t.Errorf("a changed condition has the time %s", got)
	}
	if got := transition(t, second, 1); got != "2026-01-01T00:00:00Z" {
		t.Errorf("an unchanged condition has the time %s", got)
	}
}

func TestDeployment_EqualIsNotWritten(t *testing.T) {
	stored := written(t, nil, deployment(t, nil, wanted(fleet.ConditionTrue, 2), early))
	if patch := deployment(t, stored, wanted(fleet.ConditionTrue, 2), late); patch != nil {
		t.Errorf("got the patch %v", patch)
	}
}

func TestDeployment_PatchIsTheDifference(t *testing.T) {
	s := wanted(fleet.ConditionTrue, 2)
	s.Aggregate.LastError = &fleet.LastError{Device: "pi", Message: "no disk", At: early}
	stored := written(t, nil, deployment(t, nil, s, early))
	s.Aggregate.LastError, s.Aggregate.Running, s.Aggregate.Stale = nil, 1, 1
	b, err := json.Marshal(deployment(t, stored, s, late))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b), `{"aggregate":{"lastError":null,"running":1,"stale":1}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDeployment_ReplacesWhatCannotBeRead(t *testing.T) {
	stored := map[string]any{"conditions": []any{"x", map[string]any{"type": 1}}, "aggregate": "y", "other": int64(1)}
	after := written(t, stored, deployment(t, stored, wanted(fleet.ConditionTrue, 2), early))
	if patch := deployment(t, after, wanted(fleet.ConditionTrue, 2), late); patch != nil {
		t.Errorf("still to change: %v", patch)
	}
	if _, found := after["other"]; found {
		t.Error("a field that is not of the status stayed")
	}
}

func TestDevice_LastSeenComesAndGoes(t *testing.T) {
	stale := fleet.DeviceStatus{State: fleet.DeviceStale, LastSeen: &early, Inventory: map[string]string{"model": "pi5", "mem": "8G"}}
	patch, err := status.Device(nil, stale)
	if err != nil {
		t.Fatal(err)
	}
	stored := written(t, nil, patch)
	patch, err = status.Device(stored, fleet.DeviceStatus{State: fleet.DeviceFresh, Inventory: map[string]string{"model": "pi5"}})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(patch)
	if got, want := string(b), `{"inventory":{"mem":null},"lastSeen":null,"state":"Fresh"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if patch, err := status.Device(nil, fleet.DeviceStatus{}); patch != nil || err != nil {
		t.Errorf("an empty status on an empty one: %v, %v", patch, err)
	}
}

func TestDeployment_AppliedLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stored map[string]any
		now := early
		for range rapid.IntRange(1, 5).Draw(t, "rounds") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			s := drawStatus(t)
			before := stored
			patch, err := status.Deployment(stored, s, now)
			if err != nil {
				t.Fatal(err)
			}
			stored = written(t, stored, patch)
			again, err := status.Deployment(stored, s, now.Add(time.Hour))
			if again != nil || err != nil {
				t.Fatalf("still to change: %v, %v", again, err)
			}
			checkTransitions(t, before, stored, now)
		}
	})
}

// checkTransitions: the time of a condition changes if and only if its status does.
func checkTransitions(t *rapid.T, before, after map[string]any, now time.Time) {
	old := map[any]map[string]any{}
	conditions, _ := before["conditions"].([]any)
	for _, c := range conditions {
		condition := c.(map[string]any)
		old[condition["type"]] = condition
	}
	conditions, _ = after["conditions"].([]any)
	for _, c := range conditions {
		condition := c.(map[string]any)
		was := old[condition["type"]]
		expected := now.UTC().Truncate(time.Second).Format(time.RFC3339)
		if was != nil && was["status"] == condition["status"] {
			expected = was["lastTransitionTime"].(string)
		}
		if got := condition["lastTransitionTime"]; !reflect.DeepEqual(got, expected) {
			t.Fatalf("condition %v: time %v, want %v", condition["type"], got, expected)
		}
	}
}

func drawStatus(t *rapid.T) fleet.DeploymentStatus {
	s := fleet.DeploymentStatus{
		ObservedGeneration: rapid.Int64Range(0, 1<<60).Draw(t, "generation"),
		Aggregate:          fleet.Aggregate{MatchedDeviceCount: rapid.IntRange(0, 3).Draw(t, "matched")},
	}
	if rapid.Bool().Draw(t, "error") {
		s.Aggregate.LastError = &fleet.LastError{Device: "pi", Message: strings.Repeat("<é", rapid.IntRange(0, 3).Draw(t, "message")), At: late}
	}
	for _, name := range []string{fleet.ConditionReady, fleet.ConditionReconciling, fleet.ConditionStalled} {
		if rapid.IntRange(0, 4).Draw(t, "has "+name) > 0 {
			value := rapid.SampledFrom([]fleet.ConditionStatus{fleet.ConditionTrue, fleet.ConditionFalse}).Draw(t, name)
			s.Conditions = append(s.Conditions, fleet.Condition{Type: name, Status: value})
		}
	}
	return s
}
