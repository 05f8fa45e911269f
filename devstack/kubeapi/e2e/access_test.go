package e2e

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// grantTimeout is how long the authorizer's informers may take to see a new binding.
const grantTimeout = 30 * time.Second

// The aggregated role view has rules only where something aggregates it, so this covers that as well.
func TestServiceAccountToken_IsLimitedToItsRole(t *testing.T) {
	t.Parallel()
	admin := shared.dynamic(t)
	namespace := newNamespace(t, admin)
	create(t, admin.Resource(serviceAccounts).Namespace(namespace), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ServiceAccount",
		"metadata":   map[string]any{"name": "reader"},
	}})
	limited := asServiceAccount(t, admin, namespace, "reader")

	if _, err := limited.Resource(configMaps).Namespace(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("listing without a role: got error %v, want Forbidden", err)
	}
	create(t, admin.Resource(roleBindings).Namespace(namespace), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1",
		"kind":       "RoleBinding",
		"metadata":   map[string]any{"name": "reader"},
		"roleRef":    map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
		"subjects":   []any{map[string]any{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}},
	}})
	eventually(t, grantTimeout, "the role to take effect", func(ctx context.Context) bool {
		_, err := limited.Resource(configMaps).Namespace(namespace).List(ctx, metav1.ListOptions{})
		return err == nil
	})
	if _, err := limited.Resource(secrets).Namespace(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing secrets: got error %v, want Forbidden", err)
	}
	if _, err := limited.Resource(configMaps).Namespace("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing another namespace: got error %v, want Forbidden", err)
	}
}

// asServiceAccount requests a token, as kubectl create token does, and returns a client that has nothing else.
func asServiceAccount(t *testing.T, admin dynamic.Interface, namespace, name string) dynamic.Interface {
	t.Helper()
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1",
		"kind":       "TokenRequest",
		"metadata":   map[string]any{"name": name},
	}}
	answer, err := admin.Resource(serviceAccounts).Namespace(namespace).Create(t.Context(), request, metav1.CreateOptions{}, "token")
	if err != nil {
		t.Fatalf("requesting a token: %v", err)
	}
	token, _ := field(answer, "status", "token").(string)
	if token == "" {
		t.Fatal("the token is empty")
	}
	config, err := shared.restConfig()
	if err != nil {
		t.Fatal(err)
	}
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = token
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
