package e2e

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFinalizer_KeepsDeletedObject(t *testing.T) {
	t.Parallel()
	client := shared.dynamic(t)
	resource := client.Resource(widgets).Namespace(newNamespace(t, client))
	widget := newWidget("w", map[string]any{"min": int64(1), "max": int64(2)})
	widget.SetFinalizers([]string{"e2e.harmony.dev/held"})
	create(t, resource, widget)

	remove(t, resource, "w")
	held := get(t, resource, "w")
	if held.GetDeletionTimestamp() == nil {
		t.Error("the deleted object has no deletionTimestamp")
	}
	held.SetFinalizers(nil)
	if _, err := resource.Update(t.Context(), held, metav1.UpdateOptions{}); err != nil {
		t.Fatalf("removing the finalizer: %v", err)
	}
	awaitGone(t, resource, "w")
}

func TestNamespace_DeletionCompletes(t *testing.T) {
	t.Parallel()
	client := shared.dynamic(t)
	namespace := newNamespace(t, client)
	create(t, client.Resource(widgets).Namespace(namespace), newWidget("w", map[string]any{"min": int64(1), "max": int64(2)}))
	create(t, client.Resource(configMaps).Namespace(namespace), newConfigMap("c", nil))

	remove(t, client.Resource(namespaces), namespace)
	awaitGone(t, client.Resource(namespaces), namespace)
	awaitGone(t, client.Resource(widgets).Namespace(namespace), "w")
	awaitGone(t, client.Resource(configMaps).Namespace(namespace), "c")
}

func TestOwnerReference_CollectsDependents(t *testing.T) {
	t.Parallel()
	client := shared.dynamic(t)
	namespace := newNamespace(t, client)
	owners := client.Resource(widgets).Namespace(namespace)
	dependents := client.Resource(configMaps).Namespace(namespace)

	owner := create(t, owners, newWidget("owner", map[string]any{"min": int64(1), "max": int64(2)}))
	owned := newConfigMap("owned", nil)
	owned.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(),
	}})
	create(t, dependents, owned)
	create(t, dependents, newConfigMap("free", nil))

	remove(t, owners, "owner")
	awaitGone(t, dependents, "owned")
	get(t, dependents, "free")
}
