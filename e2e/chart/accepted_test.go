package chart

import (
	"encoding/json"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"

	"harmony.dev/fleet/fleettest/kubetest"
)

// TestObjects_AreAccepted has the real API judge what it serves, and the published types the rest: a field that is not
// known, in any of them, is an error.
func TestObjects_AreAccepted(t *testing.T) {
	s := kubetest.KubeAPI(t)
	s.ApplyCRDs(t, file(t, "deploy", "crds"))
	eachVariant(t, func(t *testing.T, v variant) {
		for _, namespace := range []string{v.release.namespace, v.fleet} {
			apply(t, s.Dynamic, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace},
			}})
		}
		api := map[schema.GroupVersionKind]resource{}
		for _, r := range served(t, s.Config) {
			if r.subresource() == "" {
				api[r.kind] = r
			}
		}
		judged := map[string]int{}
		for _, u := range v.objects {
			r, ok := api[u.GroupVersionKind()]
			if ok {
				judged["by the API"]++
				dryRun(t, s.Dynamic, r, u)
			}
			if known := decode(t, u); !ok && known {
				judged["by its type"]++
			} else if !ok {
				t.Errorf("%s %s is known to nobody here", u.GetAPIVersion(), label(u))
			}
		}
		t.Logf("%v", judged)
		if judged["by the API"] < 8 || judged["by its type"] < 9 {
			t.Errorf("too little was judged: %v", judged)
		}
	})
}

// apply creates or changes an object of a kind that the API serves.
func apply(t testing.TB, client dynamic.Interface, u *unstructured.Unstructured) {
	t.Helper()
	plural := strings.ToLower(u.GetKind()) + "s" // of all that is applied here
	to := client.Resource(u.GroupVersionKind().GroupVersion().WithResource(plural)).Namespace(u.GetNamespace())
	if _, err := to.Apply(t.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "helm", Force: true}); err != nil {
		t.Fatalf("apply %s: %v", label(u), err)
	}
}

// dryRun applies an object as 'kubectl apply --server-side --dry-run=server --validate=strict' does.
func dryRun(t *testing.T, client dynamic.Interface, r resource, u *unstructured.Unstructured) {
	t.Helper()
	doc, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	var to dynamic.ResourceInterface = client.Resource(r.GroupVersionResource)
	if r.namespaced {
		if u.GetNamespace() == "" {
			t.Errorf("%s does not say in which namespace it is", label(u))
		}
		to = client.Resource(r.GroupVersionResource).Namespace(u.GetNamespace())
	}
	force := true // the definitions are there already, by another hand
	if _, err := to.Patch(t.Context(), u.GetName(), types.ApplyPatchType, doc, metav1.PatchOptions{
		FieldManager: "helm", Force: &force, DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict,
	}); err != nil {
		t.Errorf("the API refuses %s: %v", label(u), err)
	}
}

// published are the types of Kubernetes and of the Prometheus operator.
func published(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoringv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// decode reports whether the kind is published, and fails when the object is not one of it.
func decode(t *testing.T, u *unstructured.Unstructured) bool {
	t.Helper()
	doc, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	strict := serializer.NewCodecFactory(published(t), serializer.EnableStrict).UniversalDeserializer()
	_, _, err = strict.Decode(doc, nil, nil)
	if runtime.IsNotRegisteredError(err) {
		return false
	}
	if err != nil {
		t.Errorf("%s is not of its type: %v", label(u), err)
	}
	return true
}

// as returns an object in its type.
func as[T any](t testing.TB, u *unstructured.Unstructured) *T {
	t.Helper()
	v := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, v); err != nil {
		t.Fatalf("%s: %v", label(u), err)
	}
	return v
}
