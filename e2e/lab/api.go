package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// API is the test's own client of the Kubernetes API, in the namespace of the stack: what a person
// with kubectl would do.
type API struct {
	t         testing.TB
	client    dynamic.Interface
	namespace string
}

func newAPI(t testing.TB, kubeconfig, namespace string) *API {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatalf("read the kubeconfig: %v", err)
	}
	cfg.QPS, cfg.Burst = 500, 1000
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatalf("set up a Kubernetes client: %v", err)
	}
	return &API{t: t, client: client, namespace: namespace}
}

func (a *API) resource(kind string) dynamic.ResourceInterface {
	return a.client.Resource(record.Resources()[kind]).Namespace(a.namespace)
}

// Deployment is what a test writes.
type Deployment struct {
	Name     string
	Selector fleet.Selector
	Score    fleet.Score
}

// Apply creates or changes a Deployment by server-side apply, as "kubectl apply --server-side" does.
func (a *API) Apply(d Deployment) {
	a.t.Helper()
	if err := a.TryApply(d); err != nil {
		a.t.Fatalf("apply deployment %s: %v", d.Name, err)
	}
}

// TryApply is Apply for what admission may refuse.
func (a *API) TryApply(d Deployment) error {
	if d.Score.Type == "" {
		d.Score = fleet.Score{Type: "sim", Data: json.RawMessage(`{}`)}
	}
	doc, err := json.Marshal(map[string]any{
		"apiVersion": fleet.Group + "/" + fleet.Version, "kind": fleet.KindDeployment,
		"metadata": map[string]any{"name": d.Name, "namespace": a.namespace},
		"spec":     map[string]any{"targetSelector": d.Selector, "score": d.Score},
	})
	if err != nil {
		return err
	}
	force := true
	_, err = a.resource(fleet.KindDeployment).Patch(a.t.Context(), d.Name, types.ApplyPatchType, doc,
		metav1.PatchOptions{FieldManager: "lab", Force: &force})
	return err
}

// CreateDevice creates a Device by hand, as a person would who registers one before its agent speaks.
func (a *API) CreateDevice(name string, labels map[string]string) {
	a.t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": fleet.Group + "/" + fleet.Version, "kind": fleet.KindDevice,
		"metadata": map[string]any{"name": name}, "spec": map[string]any{},
	}}
	u.SetLabels(labels)
	if _, err := a.resource(fleet.KindDevice).Create(a.t.Context(), u, metav1.CreateOptions{FieldManager: "lab"}); err != nil {
		a.t.Fatalf("create device %s: %v", name, err)
	}
}

// Delete asks for a resource to be deleted; finalizers may keep it.
func (a *API) Delete(kind, name string) {
	a.t.Helper()
	if err := a.TryDelete(kind, name); err != nil {
		a.t.Fatalf("delete %s %s: %v", kind, name, err)
	}
}

// TryDelete is Delete for what may be gone already.
func (a *API) TryDelete(kind, name string) error {
	return a.resource(kind).Delete(a.t.Context(), name, metav1.DeleteOptions{})
}

// TryPatch merges a patch (RFC 7386) into a resource, as "kubectl patch --type merge" does.
func (a *API) TryPatch(kind, name string, patch any) error {
	doc, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = a.resource(kind).Patch(a.t.Context(), name, types.MergePatchType, doc, metav1.PatchOptions{FieldManager: "lab"})
	return err
}

// Vanish strips a resource of its finalizers and deletes it before they can be added again: nobody sees it
// being deleted.
func (a *API) Vanish(kind, name string) {
	a.t.Helper()
	ctx := a.t.Context()
	for {
		stripped, err := a.resource(kind).Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err == nil {
			version := stripped.GetResourceVersion()
			err = a.resource(kind).Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &version}})
		}
		switch {
		case err == nil || apierrors.IsNotFound(err):
			return
		case !apierrors.IsConflict(err):
			a.t.Fatalf("let %s %s vanish: %v", kind, name, err)
		}
	}
}

// Label sets a label of a Device by hand, or removes it for "".
func (a *API) Label(device, key, value string) {
	a.t.Helper()
	labels := map[string]any{key: value}
	if value == "" {
		labels[key] = nil
	}
	if err := a.TryPatch(fleet.KindDevice, device, map[string]any{"metadata": map[string]any{"labels": labels}}); err != nil {
		a.t.Fatalf("label device %s: %v", device, err)
	}
}

// Get reads a resource.
func (a *API) Get(ctx context.Context, kind, name string) (*unstructured.Unstructured, error) {
	return a.resource(kind).Get(ctx, name, metav1.GetOptions{})
}

// Gone reports whether a resource no longer exists.
func (a *API) Gone(ctx context.Context, kind, name string) error {
	_, err := a.Get(ctx, kind, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s %s is still there", kind, name)
}

// Status reads the status of a Deployment with its exact bytes.
func (a *API) Status(ctx context.Context, name string) (status fleet.DeploymentStatus, raw string, err error) {
	u, err := a.Get(ctx, fleet.KindDeployment, name)
	if err != nil {
		return status, "", err
	}
	b, err := json.Marshal(u.Object["status"])
	if err != nil {
		return status, "", err
	}
	if string(b) == "null" {
		return status, "", fmt.Errorf("deployment %s has no status yet", name)
	}
	return status, string(b), json.Unmarshal(b, &status)
}

// Counts returns an error unless the status of a Deployment is of its current generation and has these counts: matched,
// running, failed, pending, stale.
func (a *API) Counts(ctx context.Context, name string, want [5]int) error {
	u, err := a.Get(ctx, fleet.KindDeployment, name)
	if err != nil {
		return err
	}
	status, raw, err := a.Status(ctx, name)
	c := status.Aggregate
	if got := [5]int{c.MatchedDeviceCount, c.Running, c.Failed, c.Pending, c.Stale}; err == nil && (got != want || status.ObservedGeneration != u.GetGeneration()) {
		err = fmt.Errorf("want %v, got %s", want, raw)
	}
	return err
}

// Listed reads every Deployment and Device as a recording keeps them.
func (a *API) Listed(ctx context.Context) ([]record.Write, error) {
	var out []record.Write
	for _, kind := range []string{fleet.KindDeployment, fleet.KindDevice} {
		list, err := a.resource(kind).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list %ss: %w", kind, err)
		}
		for i := range list.Items {
			out = append(out, *record.ReadResource(record.WriteListed, kind, &list.Items[i]))
		}
	}
	return out, nil
}

// Resource is what a test compares over a fault: any write to the resource changes the version.
type Resource struct {
	ResourceVersion string
	Status          string
	Rest            string // labels, finalizers, spec and whether it is being deleted, as JSON
}

// Resources reads every Deployment and Device: "Deployment/web" to what there is of it.
func (a *API) Resources(ctx context.Context) (map[string]Resource, error) {
	list, err := a.Listed(ctx)
	if err != nil {
		return nil, err
	}
	return byName(list), nil
}

func byName(list []record.Write) map[string]Resource {
	out := map[string]Resource{}
	for _, w := range list {
		rest, _ := json.Marshal(record.Write{Labels: w.Labels, Finalizers: w.Finalizers, Spec: w.Spec, Deleting: w.Deleting})
		out[w.Resource+"/"+w.Name] = Resource{ResourceVersion: w.ResourceVersion, Status: string(w.Status), Rest: string(rest)}
	}
	return out
}

// AwaitDevices waits until there are n Devices whose names begin so, "" for all.
func (s *Stack) AwaitDevices(within time.Duration, n int, prefix string) {
	s.t.Helper()
	s.Eventually(within, fmt.Sprintf("%d devices registered", n), func(ctx context.Context) error {
		return s.API.Devices(ctx, n, prefix)
	})
}

// Devices returns why there are not n Devices whose names begin so.
func (a *API) Devices(ctx context.Context, n int, prefix string) error {
	all, err := a.Resources(ctx)
	if err != nil {
		return err
	}
	devices := 0
	for name := range all {
		if strings.HasPrefix(name, fleet.KindDevice+"/"+prefix) {
			devices++
		}
	}
	if devices != n {
		return fmt.Errorf("%d Devices, want %d", devices, n)
	}
	return nil
}

// Condition returns a condition of a status, by type.
func Condition(s fleet.DeploymentStatus, kind string) fleet.Condition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return fleet.Condition{}
}
