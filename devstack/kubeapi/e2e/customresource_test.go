package e2e

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCustomResource_RejectsWhatSchemaAndRulesForbid(t *testing.T) {
	t.Parallel()
	client := shared.dynamic(t)
	resource := client.Resource(widgets).Namespace(newNamespace(t, client))

	for _, test := range []struct {
		name string
		spec map[string]any
		want string
	}{
		{"wrong-type", map[string]any{"min": "one", "max": int64(2)}, "spec.min"},
		{"missing-field", map[string]any{"min": int64(1)}, "spec.max: Required"},
		{"over-the-limit", map[string]any{"min": int64(1), "max": int64(101)}, "less than or equal to 100"},
		{"rule-across-fields", map[string]any{"min": int64(3), "max": int64(2)}, "min is above max"},
	} {
		_, err := resource.Create(t.Context(), newWidget(test.name, test.spec), metav1.CreateOptions{})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want Invalid with %q", test.name, err, test.want)
		}
	}

	widget := create(t, resource, newWidget("painted", map[string]any{"min": int64(1), "max": int64(2), "colour": "red"}))
	widget.Object["spec"].(map[string]any)["colour"] = "blue"
	_, err := resource.Update(t.Context(), widget, metav1.UpdateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "colour is for ever") {
		t.Errorf("rule across versions: got error %v, want Invalid", err)
	}
}

func TestCustomResource_PrunesUnknownFields(t *testing.T) {
	t.Parallel()
	client := shared.dynamic(t)
	resource := client.Resource(widgets).Namespace(newNamespace(t, client))

	widget := create(t, resource, newWidget("w", map[string]any{"min": int64(1), "max": int64(2), "unknown": "x"}))
	if got := field(widget, "spec", "unknown"); got != nil {
		t.Errorf("spec.unknown = %v, want it pruned", got)
	}
}

func TestStatus_IsIsolatedFromSpec(t *testing.T) {
	t.Parallel()
	client := shared.dynamic(t)
	resource := client.Resource(widgets).Namespace(newNamespace(t, client))

	widget := newWidget("w", map[string]any{"min": int64(1), "max": int64(2)})
	widget.Object["status"] = map[string]any{"phase": "Forged"}
	created := create(t, resource, widget)
	if got := field(created, "status"); got != nil {
		t.Errorf("status after create = %v, want none", got)
	}

	update := created.DeepCopy()
	update.Object["spec"].(map[string]any)["max"] = int64(9)
	update.Object["status"] = map[string]any{"phase": "Running"}
	updated, err := resource.UpdateStatus(t.Context(), update, metav1.UpdateOptions{})
	if err != nil {
		t.Fatalf("updating the status: %v", err)
	}
	if got := field(updated, "status", "phase"); got != "Running" {
		t.Errorf("status.phase = %v, want Running", got)
	}
	if got := field(updated, "spec", "max"); got != int64(2) {
		t.Errorf("spec.max after a status update = %v, want 2", got)
	}
	if updated.GetGeneration() != created.GetGeneration() {
		t.Errorf("generation after a status update = %d, want %d", updated.GetGeneration(), created.GetGeneration())
	}

	update = updated.DeepCopy()
	update.Object["spec"].(map[string]any)["max"] = int64(9)
	update.Object["status"] = map[string]any{"phase": "Forged"}
	updated, err = resource.Update(t.Context(), update, metav1.UpdateOptions{})
	if err != nil {
		t.Fatalf("updating the spec: %v", err)
	}
	if got := field(updated, "status", "phase"); got != "Running" {
		t.Errorf("status.phase after a spec update = %v, want Running", got)
	}
	if want := created.GetGeneration() + 1; updated.GetGeneration() != want {
		t.Errorf("generation after a spec update = %d, want %d", updated.GetGeneration(), want)
	}
}

func TestApply_ConflictsBetweenTwoManagers(t *testing.T) {
	t.Parallel()
	client := shared.dynamic(t)
	resource := client.Resource(widgets).Namespace(newNamespace(t, client))
	theirs := newWidget("w", map[string]any{"min": int64(1), "max": int64(2)})
	ours := newWidget("w", map[string]any{"min": int64(1), "max": int64(3)})

	if _, err := resource.Apply(t.Context(), "w", theirs, metav1.ApplyOptions{FieldManager: "them"}); err != nil {
		t.Fatalf("applying as the first manager: %v", err)
	}
	_, err := resource.Apply(t.Context(), "w", ours, metav1.ApplyOptions{FieldManager: "us"})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "them": .spec.max`) {
		t.Errorf("applying as the second manager: got error %v, want a conflict over .spec.max", err)
	}
	forced, err := resource.Apply(t.Context(), "w", ours, metav1.ApplyOptions{FieldManager: "us", Force: true})
	if err != nil {
		t.Fatalf("applying by force: %v", err)
	}
	if got := field(forced, "spec", "max"); got != int64(3) {
		t.Errorf("spec.max after force = %v, want 3", got)
	}
	// the one who lost the field conflicts now
	if _, err := resource.Apply(t.Context(), "w", theirs, metav1.ApplyOptions{FieldManager: "them"}); !apierrors.IsConflict(err) {
		t.Errorf("applying as the first manager again: got error %v, want a conflict", err)
	}
}

func TestUpdate_StaleResourceVersionConflicts(t *testing.T) {
	t.Parallel()
	client := shared.dynamic(t)
	resource := client.Resource(widgets).Namespace(newNamespace(t, client))

	stale := create(t, resource, newWidget("w", map[string]any{"min": int64(1), "max": int64(2)}))
	fresh := stale.DeepCopy()
	fresh.Object["spec"].(map[string]any)["max"] = int64(3)
	if _, err := resource.Update(t.Context(), fresh, metav1.UpdateOptions{}); err != nil {
		t.Fatalf("updating with the current version: %v", err)
	}
	stale.Object["spec"].(map[string]any)["max"] = int64(4)
	if _, err := resource.Update(t.Context(), stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("updating with a stale version: got error %v, want a conflict", err)
	}
}
