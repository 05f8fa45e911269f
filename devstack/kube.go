package devstack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"harmony.dev/fleet"
)

const fieldManager = "fleet-dev"

var (
	crdResource       = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	namespaceResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// readyLine is what the embedded API prints on standard output once it serves.
type readyLine struct {
	Ready bool   `json:"ready"`
	URL   string `json:"url"`
}

func parseReadyLine(line string) (readyLine, bool) {
	var r readyLine
	err := json.Unmarshal([]byte(line), &r)
	return r, err == nil && r.Ready
}

// prepareCluster brings a cluster to where the services can work: the namespace, and the custom
// resource definitions, served.
func prepareCluster(ctx context.Context, kubeconfig, namespace, crdDir string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("set up a Kubernetes client: %w", err)
	}
	if err := ensureNamespace(ctx, client, namespace); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(crdDir, "*.yaml"))
	if err != nil {
		return fmt.Errorf("list %s: %w", crdDir, err)
	}
	for _, f := range files {
		if err := applyCRD(ctx, client, f); err != nil {
			return err
		}
	}
	return waitServed(ctx, client, namespace)
}

func ensureNamespace(ctx context.Context, client dynamic.Interface, name string) error {
	ns := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
	_, err := client.Resource(namespaceResource).Create(ctx, ns, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}

func applyCRD(ctx context.Context, client dynamic.Interface, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read a custom resource definition: %w", err)
	}
	doc, err := yaml.YAMLToJSON(b)
	if err != nil {
		return fmt.Errorf("parse %s: %w", file, err)
	}
	var head struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(doc, &head); err != nil {
		return fmt.Errorf("parse %s: %w", file, err)
	}
	force := true
	_, err = client.Resource(crdResource).Patch(ctx, head.Metadata.Name, types.ApplyPatchType, doc,
		metav1.PatchOptions{FieldManager: fieldManager, Force: &force})
	if err != nil {
		return fmt.Errorf("apply %s: %w", file, err)
	}
	return nil
}

// waitServed polls until both kinds can be listed: a definition says Established a moment before it
// is served.
func waitServed(ctx context.Context, client dynamic.Interface, namespace string) error {
	for _, r := range []string{fleet.ResourceDeployments, fleet.ResourceDevices} {
		gvr := schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: r}
		for {
			_, err := client.Resource(gvr).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait until %s.%s is served: %w", r, fleet.Group, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}
