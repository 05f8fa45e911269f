package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"harmony.dev/devstack/cluster"
	"harmony.dev/fleet"
	"harmony.dev/fleet/child"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/fleettest/kubetest"
	"harmony.dev/fleet/service"
)

// fleetNamespace is a namespace of the real API in which the fleet's kinds are served.
type fleetNamespace struct {
	t    *testing.T
	kube *kubetest.Server
	name string
}

func newFleetNamespace(t *testing.T) *fleetNamespace {
	t.Helper()
	kube := kubetest.KubeAPI(t)
	kube.ApplyCRDs(t, "../deploy/crds")
	return &fleetNamespace{t: t, kube: kube, name: kube.Namespace(t)}
}

// create creates Devices or Deployments with these finalizers, many at once.
func (n *fleetNamespace) create(kind string, count int, finalizers ...string) {
	n.t.Helper()
	resource, spec := cluster.Devices, map[string]any{}
	if kind == fleet.KindDeployment {
		resource = cluster.Deployments
		spec = map[string]any{"targetSelector": map[string]any{}, "score": map[string]any{"type": "sim", "data": map[string]any{}}}
	}
	var creating sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range count {
		slots <- struct{}{}
		creating.Go(func() {
			defer func() { <-slots }()
			u := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": fleet.Group + "/" + fleet.Version, "kind": kind, "spec": spec,
				"metadata": map[string]any{"name": fmt.Sprintf("%s-%d", strings.ToLower(kind), i)},
			}}
			u.SetFinalizers(finalizers)
			if _, err := n.kube.Dynamic.Resource(resource).Namespace(n.name).Create(n.t.Context(), u, metav1.CreateOptions{}); err != nil {
				n.t.Errorf("create: %v", err)
			}
		})
	}
	creating.Wait()
}

// finalizers counts what resources have.
func (n *fleetNamespace) finalizers() map[string]int {
	n.t.Helper()
	counts := map[string]int{}
	for _, resource := range []schema.GroupVersionResource{cluster.Deployments, cluster.Devices} {
		list, err := n.kube.Dynamic.Resource(resource).Namespace(n.name).List(n.t.Context(), metav1.ListOptions{})
		if err != nil {
			n.t.Fatal(err)
		}
		for _, u := range list.Items {
			counts["resources"]++
			for _, f := range u.GetFinalizers() {
				counts[f]++
			}
		}
	}
	return counts
}

// uninstall watches for a shorter time than it does by default, for which tests would only wait.
func (n *fleetNamespace) uninstall(more ...string) (int, uninstalled, string) {
	n.t.Helper()
	return n.uninstallAsShipped(append([]string{"--quiet-for", "3s"}, more...)...)
}

func (n *fleetNamespace) uninstallAsShipped(more ...string) (int, uninstalled, string) {
	n.t.Helper()
	code, stdout, stderr := invoke(n.t.Context(), append([]string{"uninstall", "--namespace", n.name, "--kubeconfig", n.kube.Kubeconfig, "-o", "json", "--yes"}, more...)...)
	var u uninstalled
	if err := json.Unmarshal([]byte(stdout), &u); err != nil {
		n.t.Fatalf("exit %d, stdout %s, stderr %s: %v", code, stdout, stderr, err)
	}
	return code, u, stderr
}

func TestUninstall_TakesOffItsOwnFinalizersAndNoOthers(t *testing.T) {
	n := newFleetNamespace(t)
	const other = "backup.example.com/keep"
	n.create(fleet.KindDeployment, 7, fleet.FinalizerDesiredState, other)
	n.create(fleet.KindDevice, 1000, fleet.FinalizerDesiredState, fleet.FinalizerDeviceData)
	neighbour := newFleetNamespace(t)
	neighbour.create(fleet.KindDevice, 2, fleet.FinalizerDesiredState)
	devices := n.kube.Dynamic.Resource(cluster.Devices).Namespace(n.name)
	if err := devices.Delete(t.Context(), "device-3", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := invoke(t.Context(), "uninstall", "--namespace", n.name, "--kubeconfig", n.kube.Kubeconfig); code != 2 || !strings.Contains(stderr, "--yes") {
		t.Errorf("without a terminal: exit %d, %s", code, stderr)
	}
	if got := n.finalizers(); got[fleet.FinalizerDesiredState] != 1007 {
		t.Fatalf("it began without being told: %v", got)
	}
	began := time.Now()
	code, u, stderr := n.uninstall()
	t.Logf("1,007 resources: %s", time.Since(began).Round(time.Millisecond))
	if code != 0 || len(u.Resources) != 2 || u.Resources[0].Released != 7 || u.Resources[0].Kept != 7 || u.Resources[1].Released != 1000 || u.Resources[1].Found != 1000 {
		t.Errorf("exit %d, %+v, %s", code, u, stderr)
	}
	if got := n.finalizers(); got["resources"] != 1006 || got[other] != 7 || len(got) != 2 { // the one being deleted is gone
		t.Errorf("left: %v", got)
	}
	if got := neighbour.finalizers(); got[fleet.FinalizerDesiredState] != 2 {
		t.Errorf("another namespace was touched: %v", got)
	}
	if code, u, stderr := n.uninstall(); code != 0 || u.Resources[1].Released != 0 || u.Resources[1].Found != 999 {
		t.Errorf("again: exit %d, %+v, %s", code, u, stderr)
	}
}

// refusePatches has the API refuse to change a Device, as an admission webhook would.
func (n *fleetNamespace) refusePatches(device string) {
	n.t.Helper()
	n.refuse("UPDATE", fmt.Sprintf("object.metadata.name != %q", device), func() error {
		patch := []byte(`{"metadata":{"labels":{"a":"b"}}}`)
		_, err := n.kube.Dynamic.Resource(cluster.Devices).Namespace(n.name).Patch(n.t.Context(), device, types.MergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
}

// refuseDeletes has it refuse to delete one.
func (n *fleetNamespace) refuseDeletes(device string) {
	n.t.Helper()
	n.refuse("DELETE", fmt.Sprintf("oldObject.metadata.name != %q", device), func() error {
		return n.kube.Dynamic.Resource(cluster.Devices).Namespace(n.name).Delete(n.t.Context(), device, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
	})
}

// refuse has the API refuse what does not satisfy an expression, and waits until it refuses the attempt.
func (n *fleetNamespace) refuse(operation, expression string, attempt func() error) {
	n.t.Helper()
	name := n.name + "-refuses"
	policy := map[string]any{
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{fleet.Group}, "apiVersions": []any{"*"}, "operations": []any{operation}, "resources": []any{fleet.ResourceDevices},
		}}},
		"validations": []any{map[string]any{"expression": expression, "message": "hands off"}},
	}
	binding := map[string]any{
		"policyName": name, "validationActions": []any{"Deny"},
		"matchResources": map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": n.name}}},
	}
	n.createPolicy("ValidatingAdmissionPolicy", "validatingadmissionpolicies", name, policy)
	n.createPolicy("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", name, binding)
	fleettest.Eventually(n.t, 30*time.Second, "the policy is in force", func() bool { return attempt() != nil })
}

func (n *fleetNamespace) createPolicy(kind, resource, name string, spec map[string]any) {
	n.t.Helper()
	client := n.kube.Dynamic.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: resource})
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec,
	}}
	if _, err := client.Create(n.t.Context(), u, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if err := client.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			n.t.Errorf("clean up: %v", err)
		}
	})
}

// startPatcher runs the shipped patcher on the namespace.
func (n *fleetNamespace) startPatcher() *child.Process {
	n.t.Helper()
	log, err := os.Create(filepath.Join(n.t.TempDir(), "patcher.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	proc, err := child.Start(child.Spec{
		Name: "patcher", Path: "../bin/fleet-patcher", Stdout: log, Stderr: log, Env: service.WithoutSettings(os.Environ()),
		Args: []string{"--nats-url", fleettest.NATS(n.t).URL(), "--kubeconfig", n.kube.Kubeconfig, "--fleet", n.name, "--exit-with-parent", "--lease-ttl", "3s"},
	})
	if err != nil {
		n.t.Fatalf("start the patcher ('make build' builds it): %v", err)
	}
	n.t.Cleanup(func() { _ = proc.Kill(); _ = log.Close() })
	return proc
}

func TestUninstall_SaysWhenAPatcherPutsThemBack(t *testing.T) {
	n := newFleetNamespace(t)
	n.create(fleet.KindDeployment, 2)
	n.create(fleet.KindDevice, 20)
	patcher := n.startPatcher()
	fleettest.Eventually(t, 30*time.Second, "the patcher adds its finalizers", func() bool {
		return n.finalizers()[fleet.FinalizerDesiredState] == 22
	})
	code, _, stderr := n.uninstall()
	if code != 1 || !strings.Contains(stderr, "a patcher still runs") || !strings.Contains(stderr, "--scale-down") {
		t.Errorf("while it runs: exit %d, %s", code, stderr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := patcher.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = n.uninstall()
	if got := n.finalizers(); code != 0 || len(got) != 1 || got["resources"] != 22 {
		t.Errorf("after it was stopped: exit %d, %s, left %v", code, stderr, got)
	}
}

// TestUninstall_OutwaitsAStandby has a finalizer come back as late as by a patcher that has to take over the lease first.
func TestUninstall_OutwaitsAStandby(t *testing.T) {
	n := newFleetNamespace(t)
	n.create(fleet.KindDevice, 1, fleet.FinalizerDesiredState)
	devices := n.kube.Dynamic.Resource(cluster.Devices).Namespace(n.name)
	var standby sync.WaitGroup
	standby.Go(func() {
		const late = 11 * time.Second // after the lease of 10 s
		fleettest.Eventually(t, late, "the finalizer is off", func() bool { return len(n.finalizers()) == 1 })
		time.Sleep(late)
		patch := fmt.Appendf(nil, `{"metadata":{"finalizers":[%q]}}`, fleet.FinalizerDesiredState)
		if _, err := devices.Patch(t.Context(), "device-0", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Error(err)
		}
	})
	code, u, stderr := n.uninstallAsShipped()
	standby.Wait()
	if got := n.finalizers(); code != 0 || len(got) != 1 || u.Resources[1].Released != 1 || !strings.Contains(stderr, "watching for 15s") {
		t.Errorf("exit %d, left %v, %+v, %s", code, got, u, stderr)
	}
}

// TestUninstall_NamesWhatRefuses has a webhook refuse one of several.
func TestUninstall_NamesWhatRefuses(t *testing.T) {
	n := newFleetNamespace(t)
	n.create(fleet.KindDevice, 20, fleet.FinalizerDesiredState)
	n.refusePatches("device-7")
	code, u, stderr := n.uninstall()
	devices := u.Resources[1]
	if code != 1 || !strings.Contains(stderr, "Device device-7: ") || !strings.Contains(stderr, "hands off") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if devices.Found != 20 || devices.Released != 19 || devices.Left != 1 || len(devices.Refused) != 1 || devices.Refused[0].Name != "device-7" {
		t.Errorf("%+v", devices)
	}
	if got := n.finalizers()[fleet.FinalizerDesiredState]; got != 1 {
		t.Errorf("%d are left", got)
	}
}

func TestUninstall_RefusesFlagsThatMeanNothing(t *testing.T) {
	for args, want := range map[string]string{
		"--scale-down a/b/c":             "--scale-down",
		"--scale-down /patcher":          "--scale-down",
		"--scale-down other/":            "--scale-down",
		"--within 0s":                    "--within must be positive",
		"--quiet-for=-1s":                "--quiet-for must not be negative",
		"--scale-down other/patcher":     "Scale deployment other/patcher to 0",
		"--scale-down patcher":           "Scale deployment a/patcher to 0",
		"--quiet-for 0s --scale-down x1": "there is no terminal",
	} {
		kubeconfig := kubetest.KubeAPI(t).Kubeconfig
		code, _, stderr := invoke(t.Context(), append([]string{"uninstall", "--namespace", "a", "--kubeconfig", kubeconfig}, strings.Fields(args)...)...)
		if code != 2 || !strings.Contains(strings.ToLower(stderr), strings.ToLower(want)) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}

func TestUninstall_WithoutDefinitions(t *testing.T) {
	own := kubetest.StartOwn(t)
	code, stdout, stderr := invoke(t.Context(), "uninstall", "--namespace", "default", "--kubeconfig", own.Kubeconfig, "--yes", "--scale-down", "fleet-patcher", "--quiet-for", "1s")
	if code != 0 || !strings.Contains(stdout, "not defined in this cluster") || !strings.Contains(stderr, "nothing to scale down") || !strings.Contains(stderr, "watching for 1s") {
		t.Errorf("exit %d, %s, %s", code, stdout, stderr)
	}

	// The definitions come by 'fleet crds', also while the API server is away at first.
	own.Kill()
	said := make(chan string, 1)
	go func() {
		code, stdout, stderr := invoke(t.Context(), "crds", "--dir", "../deploy/crds", "--kubeconfig", own.Kubeconfig, "--timeout", "60s")
		said <- fmt.Sprintf("exit %d: %s%s", code, stdout, stderr)
	}()
	time.Sleep(time.Second)
	own.Start()
	if got := <-said; !strings.HasPrefix(got, "exit 0") || !strings.Contains(got, "trying again") || strings.Count(got, "is served") != 2 {
		t.Errorf("crds: %s", got)
	}
	crds := own.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	before, err := crds.Get(t.Context(), "devices.fleet.harmony.dev", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	managers := before.GetManagedFields()
	if !slices.ContainsFunc(managers, func(m metav1.ManagedFieldsEntry) bool { return m.Manager == crdManager }) {
		t.Errorf("managers: %+v", managers)
	}
	if code, _, stderr := invoke(t.Context(), "crds", "--dir", "../deploy/crds", "--kubeconfig", own.Kubeconfig); code != 0 {
		t.Errorf("again: exit %d, %s", code, stderr)
	}
	after, err := crds.Get(t.Context(), "devices.fleet.harmony.dev", metav1.GetOptions{})
	if err != nil || after.GetResourceVersion() != before.GetResourceVersion() {
		t.Errorf("applying again changed it: %s, then %s (%v)", before.GetResourceVersion(), after.GetResourceVersion(), err)
	}
	began := time.Now()
	own.Kill()
	code, _, stderr = invoke(t.Context(), "crds", "--dir", "../deploy/crds", "--kubeconfig", own.Kubeconfig, "--timeout", "2s")
	if code != 1 || !strings.Contains(stderr, "not within 2s") || time.Since(began) > 10*time.Second {
		t.Errorf("without a server: exit %d after %s, %s", code, time.Since(began), stderr)
	}
}

func TestCRDs_RefusesOtherThings(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kube := kubetest.KubeAPI(t)
	if code, _, stderr := invoke(t.Context(), "crds", "--dir", dir, "--kubeconfig", kube.Kubeconfig); code != 1 || !strings.Contains(stderr, "no custom resource definition") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}
