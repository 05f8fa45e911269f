package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
)

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// EnsureNamespace creates a namespace unless it is there. It needs create on namespaces.
func EnsureNamespace(ctx context.Context, client Client, manager, name string) error {
	ns := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
	_, err := client.Resource(namespaces).Create(ctx, ns, metav1.CreateOptions{FieldManager: manager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}

// CopyKubeconfig writes a kubeconfig that leads to the cluster of another one by another URL, as a container does that
// is not where the kubeconfig was written. Only its owner can read the file. Whoever waits for it never reads half of it.
func CopyKubeconfig(from, server, to string) error {
	config, err := clientcmd.LoadFromFile(from)
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	context, ok := config.Contexts[config.CurrentContext]
	if !ok || config.Clusters[context.Cluster] == nil {
		return fmt.Errorf("%s names no cluster as the present one", from)
	}
	config.Clusters[context.Cluster].Server = server
	text, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode a kubeconfig: %w", err)
	}
	tmp := to + ".tmp"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return fmt.Errorf("write a kubeconfig: %w", err)
	}
	if err := os.Rename(tmp, to); err != nil {
		return fmt.Errorf("write a kubeconfig: %w", errors.Join(err, os.Remove(tmp)))
	}
	return nil
}
