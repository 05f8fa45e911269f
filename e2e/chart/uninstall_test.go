package chart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/fleettest/kubetest"
	"harmony.dev/fleet/service"
)

// foreign is a finalizer of somebody else, which must stay.
const foreign = "example.com/keep"

// abandoned is a fleet whose operator is gone: resources with its finalizers, which nobody takes off.
type abandoned struct {
	t         *testing.T
	api       *kubetest.Server
	namespace string
}

func abandon(t *testing.T, s *kubetest.Server, namespace string) *abandoned {
	a := &abandoned{t, s, namespace}
	spec := map[string]any{"targetSelector": map[string]any{}, "score": map[string]any{"type": "sim"}}
	a.create(fleet.KindDeployment, "web", spec, fleet.FinalizerDesiredState)
	a.create(fleet.KindDevice, "pi-01", nil, fleet.FinalizerDesiredState, fleet.FinalizerDeviceData)
	a.create(fleet.KindDevice, "pi-02", nil, fleet.FinalizerDeviceData, foreign)
	a.create(fleet.KindDevice, "pi-03", nil)
	return a
}

func (a *abandoned) resource(kind string) dynamic.ResourceInterface {
	gvr := schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: strings.ToLower(kind) + "s"}
	return a.api.Dynamic.Resource(gvr).Namespace(a.namespace)
}

func (a *abandoned) create(kind, name string, spec map[string]any, finalizers ...string) {
	a.t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": fleet.Group + "/" + fleet.Version, "kind": kind, "metadata": map[string]any{"name": name},
	}}
	if spec != nil {
		u.Object["spec"] = spec
	}
	u.SetFinalizers(finalizers)
	if _, err := a.resource(kind).Create(a.t.Context(), u, metav1.CreateOptions{}); err != nil {
		a.t.Fatal(err)
	}
}

// finalizers returns those of all resources: "Device/pi-01" to "a b".
func (a *abandoned) finalizers() map[string]string {
	a.t.Helper()
	all := map[string]string{}
	for _, kind := range []string{fleet.KindDeployment, fleet.KindDevice} {
		list, err := a.resource(kind).List(a.t.Context(), metav1.ListOptions{})
		if err != nil {
			a.t.Fatal(err)
		}
		for _, u := range list.Items {
			all[kind+"/"+u.GetName()] = strings.Join(u.GetFinalizers(), " ")
		}
	}
	return all
}

// uninstall runs the commands of the rendered Job, one after the other, as its account.
func uninstall(t *testing.T, all objects, kubeconfig string) (output string, err error) {
	t.Helper()
	pod := as[batchv1.Job](t, all.kind("Job").one(t)).Spec.Template.Spec
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(lab.BinDir(t), "fleet"), c.Args...)
		cmd.Env = append(service.WithoutSettings(os.Environ()), "KUBECONFIG="+kubeconfig, "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		output += string(out)
		if err != nil {
			return output, fmt.Errorf("fleet %s: %w", strings.Join(c.Args, " "), err)
		}
	}
	return output, nil
}

func hooks(all objects) objects { return all.where(isHook) }

// TestUninstall_LeavesNothingHanging runs what the hook runs, by the token of its account, and then deletes everything.
// No patcher runs: its Deployment has no pod.
func TestUninstall_LeavesNothingHanging(t *testing.T) {
	s := kubetest.KubeAPI(t)
	s.ApplyCRDs(t, file(t, "deploy", "crds"))
	for _, c := range []struct {
		name  string
		apart bool // the fleet is in another namespace than the release
	}{{"in one namespace", false}, {"in two", true}} {
		t.Run(c.name, func(t *testing.T) {
			r := release{"harmony-fleet", s.Namespace(t)}
			namespace, options := r.namespace, []string(nil)
			places := map[string]string{"fleet": r.namespace, "cluster": "", "elsewhere": s.Namespace(t)}
			if c.apart {
				namespace = s.Namespace(t)
				places = map[string]string{"fleet": namespace, "release": r.namespace, "cluster": ""}
				options = []string{"--set", "fleet=" + namespace}
			}
			all := r.render(t, options...)
			a := abandon(t, s, namespace)
			grant(t, s, hooks(all))
			cfg := account(t, s, r.namespace, "harmony-fleet-uninstall")

			const patcher = "harmony-fleet-patcher"
			scale := newScale(t, cfg, r.namespace, patcher, func() error { return nil })
			a.isReleasedBy(all, kubeconfig(t, scale.config()))
			a.deletes()

			want := withEverybody(expectedOfTheHook(c.apart), places, patcher)
			compare(t, "the hook may", allowed(t, cfg, questions(t, s, places, patcher)), want)
		})
	}
}

// expectedOfTheHook are the calls that its account may make. What holds for any object holds for each.
func expectedOfTheHook(apart bool) []string {
	const patcher, group = " harmony-fleet-patcher", ".fleet.harmony.dev"
	release := "fleet"
	if apart {
		release = "release"
	}
	all := []string{
		release + ": get deployments/scale.apps" + patcher, release + ": patch deployments/scale.apps" + patcher,
		release + ": list pods", release + ": list pods" + patcher,
	}
	for _, r := range []string{"deployments", "devices"} {
		for _, verb := range []string{"list", "patch"} {
			all = append(all, "fleet: "+verb+" "+r+group, "fleet: "+verb+" "+r+group+patcher)
		}
	}
	return all
}

// isReleasedBy runs the command twice: only finalizers of others are left, and nothing is deleted.
func (a *abandoned) isReleasedBy(all objects, kubeconfig string) {
	a.t.Helper()
	want := map[string]string{"Deployment/web": "", "Device/pi-01": "", "Device/pi-02": foreign, "Device/pi-03": ""}
	for _, nth := range []string{"first", "second"} {
		out, err := uninstall(a.t, all, kubeconfig)
		if err != nil {
			a.t.Fatalf("the %s time: %v\n%s", nth, err, out)
		}
		if got := a.finalizers(); fmt.Sprint(got) != fmt.Sprint(want) {
			a.t.Errorf("the %s time finalizers %v are left, want %v\n%s", nth, got, want, out)
		}
	}
}

// deletes deletes everything and waits until it is gone.
func (a *abandoned) deletes() {
	a.t.Helper()
	ctx := a.t.Context()
	if _, err := a.resource(fleet.KindDevice).Patch(ctx, "pi-02", "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		a.t.Fatal(err)
	}
	for _, kind := range []string{fleet.KindDeployment, fleet.KindDevice} {
		if err := a.resource(kind).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			a.t.Fatal(err)
		}
	}
	fleettest.Eventually(a.t, 10*time.Second, "all resources are gone", func() bool { return len(a.finalizers()) == 0 })
}

// TestUninstall_StopsThePatcherFirst has a real patcher run, which puts finalizers on again. What the API here lacks, the
// scale of an apps/v1 Deployment, stands before it: the real API decides whether the account may, and scaling to 0 ends
// the patcher as a kubelet would.
func TestUninstall_StopsThePatcherFirst(t *testing.T) {
	s := install(t)
	s.StartDevices(4)
	s.AwaitDevices(soon, 4, "dev-")
	s.API.Apply(lab.Deployment{Name: "web", Selector: fleet.Selector{MatchLabels: map[string]string{"region": "north"}}})
	s.awaitRunning("web", 1)
	all := &abandoned{t, s.Kube, s.Fleet}
	s.Eventually(soon, "all have finalizers", func(context.Context) error {
		for name, finalizers := range all.finalizers() {
			if finalizers == "" {
				return errors.New(name + " has none")
			}
		}
		return nil
	})

	grant(t, s.Kube, hooks(s.objects))
	cfg := account(t, s.Kube, s.Fleet, "harmony-fleet-uninstall")
	patcher := s.services["patcher"]
	scale := newScale(t, cfg, s.Fleet, "harmony-fleet-patcher", patcher.stop)
	out, err := uninstall(t, s.objects, kubeconfig(t, scale.config()))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !scale.down() {
		t.Errorf("the patcher was not scaled down: %s", out)
	}
	for _, said := range []string{"until its pods have ended: harmony-fleet-patcher-0 (terminating)", "watching for 3s", "no pod of the patcher is left"} {
		if !strings.Contains(out, said) {
			t.Errorf("it does not say %q: %s", said, out)
		}
	}
	for name, finalizers := range all.finalizers() {
		if finalizers != "" {
			t.Errorf("%s has %s", name, finalizers)
		}
	}
	if n := len(all.finalizers()); n != 5 {
		t.Errorf("%d resources are there, want 5: the command deletes none", n)
	}
	s.API.Delete(fleet.KindDeployment, "web")
	s.API.Delete(fleet.KindDevice, "dev-0001")
	for kind, name := range map[string]string{fleet.KindDeployment: "web", fleet.KindDevice: "dev-0001"} {
		s.Eventually(10*time.Second, name+" is gone", func(ctx context.Context) error { return s.API.Gone(ctx, kind, name) })
	}
}

// TestUninstall_WaitsForAsLongAsAPodMayTake compares how long the hook waits with how long the patcher's pods may take to end.
func TestUninstall_WaitsForAsLongAsAPodMayTake(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		job := as[batchv1.Job](t, v.objects.kind("Job").one(t)).Spec
		within := time.Duration(0)
		for _, arg := range job.Template.Spec.Containers[0].Args {
			if text, is := strings.CutPrefix(arg, "--within="); is {
				within, _ = time.ParseDuration(text) // 0 is too short
			}
		}
		grace := time.Duration(*podsOf(t, v.objects)["patcher"].Spec.TerminationGracePeriodSeconds) * time.Second
		if deadline := time.Duration(*job.ActiveDeadlineSeconds) * time.Second; within < grace+10*time.Second || deadline < within+30*time.Second {
			t.Errorf("it waits for %s, a pod may take %s, and the Job %s", within, grace, deadline)
		}
	})
}

// TestUninstall_SaysWhatItMayNot runs the hook without its permissions.
func TestUninstall_SaysWhatItMayNot(t *testing.T) {
	s := kubetest.KubeAPI(t)
	s.ApplyCRDs(t, file(t, "deploy", "crds"))
	r := release{"harmony-fleet", s.Namespace(t)}
	all := r.render(t)
	a := abandon(t, s, r.namespace)
	grant(t, s, hooks(all).kind("ServiceAccount"))
	out, err := uninstall(t, all, kubeconfig(t, account(t, s, r.namespace, "harmony-fleet-uninstall")))
	if err == nil || !strings.Contains(out, "forbidden") {
		t.Errorf("%v\n%s", err, out)
	}
	grant(t, s, hooks(all))
	a.isReleasedBy(all, kubeconfig(t, account(t, s, r.namespace, "harmony-fleet-uninstall")))
}
