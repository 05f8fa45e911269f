package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

var (
	crds            = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	widgets         = schema.GroupVersionResource{Group: "e2e.harmony.dev", Version: "v1", Resource: "widgets"}
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps      = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets         = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	roleBindings    = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
)

// widgetDefinition has a structural schema, a rule across fields, one across versions, and a status.
const widgetDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.e2e.harmony.dev
spec:
  group: e2e.harmony.dev
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [min, max]
            x-kubernetes-validations:
            - rule: self.min <= self.max
              message: min is above max
            properties:
              min: {type: integer}
              max: {type: integer, maximum: 100}
              colour:
                type: string
                x-kubernetes-validations:
                - rule: self == oldSelf
                  message: colour is for ever
          status:
            type: object
            properties:
              phase: {type: string}
`

func installWidgets(ctx context.Context, s *server) error {
	config, err := s.restConfig()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	definition := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(widgetDefinition), &definition.Object); err != nil {
		return fmt.Errorf("reading the definition of widgets: %w", err)
	}
	if _, err := client.Resource(crds).Create(ctx, definition, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating the definition of widgets: %w", err)
	}
	// the condition Established comes before the resource is served
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := client.Resource(widgets).List(ctx, metav1.ListOptions{})
		return err == nil, nil
	})
}

func newWidget(name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "e2e.harmony.dev/v1",
		"kind":       "Widget",
		"metadata":   map[string]any{"name": name},
		"spec":       spec,
	}}
}

func newConfigMap(name string, data map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   map[string]any{"name": name},
		"data":       data,
	}}
}

// newNamespace creates a namespace for one test. It is left to the end of the server.
func newNamespace(t *testing.T, client dynamic.Interface) string {
	t.Helper()
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Namespace",
		"metadata":   map[string]any{"generateName": "e2e-"},
	}}
	return create(t, client.Resource(namespaces), namespace).GetName()
}

func create(t *testing.T, resource dynamic.ResourceInterface, object *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	created, err := resource.Create(t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("creating %s: %v", object.GetKind(), err)
	}
	return created
}

func get(t *testing.T, resource dynamic.ResourceInterface, name string) *unstructured.Unstructured {
	t.Helper()
	object, err := resource.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return object
}

func remove(t *testing.T, resource dynamic.ResourceInterface, name string) {
	t.Helper()
	if err := resource.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatalf("deleting %s: %v", name, err)
	}
}

func awaitGone(t *testing.T, resource dynamic.ResourceInterface, name string) {
	t.Helper()
	eventually(t, goneTimeout, name+" to be gone", func(ctx context.Context) bool {
		_, err := resource.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func eventually(t *testing.T, within time.Duration, what string, condition func(context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, within, true, func(ctx context.Context) (bool, error) {
		return condition(ctx), nil
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// field is a nested value, nil where there is none.
func field(object *unstructured.Unstructured, path ...string) any {
	value, _, _ := unstructured.NestedFieldNoCopy(object.Object, path...)
	return value
}
