package device_test

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"harmony.dev/services/patcher/device"
)

// object is a Device resource under a small model of the apiserver: each label has a value and the
// managers that own it.
type object struct {
	values map[string]string
	owners map[string]map[string]bool // label → manager
}

func (o object) resource() map[string]any {
	labels := map[string]any{}
	fields := map[string]map[string]any{}
	for key, value := range o.values {
		labels[key] = value
		for manager := range o.owners[key] {
			if fields[manager] == nil {
				fields[manager] = map[string]any{".": map[string]any{}}
			}
			fields[manager]["f:"+key] = map[string]any{}
		}
	}
	managed := []any{map[string]any{"manager": "kubelet", "operation": "Update", "subresource": "status"}}
	for manager, owned := range fields {
		operation := "Update"
		if manager == device.LabelManager {
			operation = "Apply"
		}
		managed = append(managed, map[string]any{
			"manager": manager, "operation": operation,
			"fieldsV1": map[string]any{"f:metadata": map[string]any{"f:labels": owned}},
		})
	}
	return map[string]any{"metadata": map[string]any{"labels": labels, "managedFields": managed}}
}

// apply does what a server-side apply of the label manager does: what it owned and does not name goes,
// unless somebody else owns it too. It reports a conflict with another manager.
func (o object) apply(labels map[string]string) error {
	for key, owners := range o.owners {
		if _, named := labels[key]; named || !owners[device.LabelManager] {
			continue
		}
		delete(owners, device.LabelManager)
		if len(owners) == 0 {
			delete(o.values, key)
			delete(o.owners, key)
		}
	}
	for key, value := range labels {
		for owner := range o.owners[key] {
			if owner != device.LabelManager && o.values[key] != value {
				return fmt.Errorf("conflict with %s over %s", owner, key)
			}
		}
		if o.owners[key] == nil {
			o.owners[key] = map[string]bool{}
		}
		o.values[key], o.owners[key][device.LabelManager] = value, true
	}
	return nil
}

func TestLabels(t *testing.T) {
	ours, theirs := map[string]bool{device.LabelManager: true}, map[string]bool{"kubectl-label": true}
	shared := map[string]bool{device.LabelManager: true, "kubectl-label": true}
	tests := []struct {
		name     string
		values   map[string]string
		owners   map[string]map[string]bool
		reported map[string]string
		apply    map[string]string
		changed  bool
	}{
		{"first report", nil, nil, labels("region", "north"), labels("region", "north"), true},
		{"unchanged", labels("region", "north"), owned("region", ours), labels("region", "north"), labels("region", "north"), false},
		{"changed", labels("region", "north"), owned("region", ours), labels("region", "south"), labels("region", "south"), true},
		{"removed by the device", labels("region", "north"), owned("region", ours), nil, nil, true},
		{"set by a person", labels("region", "west"), owned("region", theirs), labels("region", "north"), nil, false},
		{"set by a person to the same", labels("region", "north"), owned("region", shared), labels("region", "north"), nil, true},
		{"set by nobody known", labels("region", "west"), nil, labels("region", "north"), nil, false},
		{"nothing at all", nil, nil, nil, nil, false},
		{"others' labels stay out", labels("a", "1", "b", "2"), map[string]map[string]bool{"a": ours, "b": theirs}, labels("a", "1", "b", "3", "c", "4"), labels("a", "1", "c", "4"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			apply, changed := device.Labels(object{tt.values, tt.owners}.resource(), tt.reported)
			if !maps.Equal(apply, tt.apply) || changed != tt.changed {
				t.Errorf("got %v, %t; want %v, %t", apply, changed, tt.apply, tt.changed)
			}
		})
	}
}

func TestOwned(t *testing.T) {
	o := object{labels("a", "1", "b", "2", "c", "3"), map[string]map[string]bool{
		"a": {device.LabelManager: true}, "b": {"kubectl": true}, "c": {device.LabelManager: true, "kubectl": true},
	}}
	if got := device.Owned(o.resource()); !maps.Equal(got, labels("a", "1", "c", "3")) {
		t.Errorf("got %v", got)
	}
	if got := device.Owned(map[string]any{}); got != nil {
		t.Errorf("no metadata: got %v", got)
	}
}

func TestLabels_AppliedOnceAreApplied(t *testing.T) {
	keys := rapid.SampledFrom([]string{"a", "b", "c", "x.example.com/d"})
	reports := rapid.MapOf(keys, rapid.SampledFrom([]string{"", "1", "2"}))
	rapid.Check(t, func(t *rapid.T) {
		o := object{map[string]string{}, map[string]map[string]bool{}}
		for key, value := range reports.Draw(t, "present") {
			o.values[key] = value
			managers := rapid.SliceOfDistinct(rapid.SampledFrom([]string{device.LabelManager, "kubectl", "argocd"}), rapid.ID).Draw(t, "managers")
			o.owners[key] = map[string]bool{}
			for _, m := range managers {
				o.owners[key][m] = true
			}
		}
		before := maps.Clone(o.values)
		others := map[string]bool{}
		for key, owners := range o.owners {
			others[key] = len(owners) == 0 || owners["kubectl"] || owners["argocd"]
		}
		reported := reports.Draw(t, "reported")

		apply, _ := device.Labels(o.resource(), reported)
		if err := o.apply(apply); err != nil {
			t.Fatal(err)
		}
		if again, changed := device.Labels(o.resource(), reported); changed {
			t.Fatalf("applied %v, still to apply %v", apply, again)
		}
		for key, value := range before {
			if others[key] && o.values[key] != value {
				t.Fatalf("another's label %s was %q and is %q", key, value, o.values[key])
			}
		}
		for key, value := range reported {
			if !others[key] && o.values[key] != value {
				t.Fatalf("reported label %s=%q is %q", key, value, o.values[key])
			}
		}
	})
}

func labels(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func owned(key string, by map[string]bool) map[string]map[string]bool {
	return map[string]map[string]bool{key: by}
}
