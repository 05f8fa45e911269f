package kubetest_test

import (
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

func TestKubeAPI_OneServerANamespacePerTest(t *testing.T) {
	s := kubetest.KubeAPI(t)
	if again := kubetest.KubeAPI(t); again != s {
		t.Error("a second call started another server")
	}
	a, b := s.Namespace(t), s.Namespace(t)
	if a == b || a == "" {
		t.Fatalf("namespaces %q and %q", a, b)
	}
	s.ApplyCRDs(t, "../../../deploy/crds")
	s.ApplyCRDs(t, "../../../deploy/crds") // applying again changes nothing
	devices := s.Dynamic.Resource(schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: fleet.ResourceDevices})
	device := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": fleet.Group + "/" + fleet.Version, "kind": fleet.KindDevice,
		"metadata": map[string]any{"name": "pi-07"},
	}}
	if _, err := devices.Namespace(a).Create(t.Context(), device, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for namespace, want := range map[string]int{a: 1, b: 0} {
		list, err := devices.Namespace(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != want {
			t.Errorf("%s has %d devices, want %d, %v", namespace, len(list.Items), want, err)
		}
	}
}
