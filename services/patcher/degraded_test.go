package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/services/patcher/keeper"
	"harmony.dev/services/patcher/kube"
)

// kubeconfigWith writes a kubeconfig of the test's apiserver that is changed somehow.
func (r *rig) kubeconfigWith(change func(cluster, user map[string]any)) string {
	r.t.Helper()
	b, err := os.ReadFile(r.api.Kubeconfig)
	if err != nil {
		r.t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		r.t.Fatal(err)
	}
	first := func(list, field string) map[string]any {
		return doc[list].([]any)[0].(map[string]any)[field].(map[string]any)
	}
	change(first("clusters", "cluster"), first("users", "user"))
	if b, err = yaml.Marshal(doc); err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// grant allows a user something on all custom resources of the namespace.
func (r *rig) grant(user string, verbs ...string) {
	r.t.Helper()
	r.grantOn(user, fleet.Group, "*", verbs...)
}

// grantOn allows a user something on some resources of the namespace.
func (r *rig) grantOn(user, group, resource string, verbs ...string) {
	r.t.Helper()
	r.granted++
	name := fmt.Sprintf("%s-%d", user, r.granted)
	rules := []any{map[string]any{
		"apiGroups": []any{group}, "resources": []any{resource}, "verbs": anySlice(verbs),
	}}
	r.rbac("roles", map[string]any{"kind": "Role", "metadata": map[string]any{"name": name}, "rules": rules})
	r.rbac("rolebindings", map[string]any{
		"kind": "RoleBinding", "metadata": map[string]any{"name": name},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}},
	})
}

func (r *rig) rbac(resource string, object map[string]any) {
	r.t.Helper()
	gvr := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: resource}
	object["apiVersion"] = "rbac.authorization.k8s.io/v1"
	if _, err := r.client.Resource(gvr).Namespace(r.namespace).Create(r.ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func anySlice(s []string) []any {
	var list []any
	for _, v := range s {
		list = append(list, v)
	}
	return list
}

// setAside returns what the health shows of a resource that is not mirrored, as "error (kept)".
func (p *patcher) setAside(source, name string) string {
	h, _ := p.health()
	for _, s := range h.Sources {
		for _, e := range s.Set {
			if s.Name == source && e.Key == name {
				if e.Kept {
					return e.Error + " (kept)"
				}
				return e.Error
			}
		}
	}
	return ""
}

func TestDegraded_PermissionsAreMissingOneByOne(t *testing.T) {
	r := newRig(t)
	before := r.create(kube.Deployments, "web", selecting("north"))
	user := "patcher-of-" + r.namespace
	p := r.start("p1", "--kubeconfig", r.kubeconfigWith(func(_, u map[string]any) { u["as"] = user }))

	r.eventually("the health says that it may not list", func() bool {
		return strings.Contains(p.reasons(), kube.ReasonAPIForbidden)
	})
	if h, _ := p.health(); h.Ready || h.State != fleet.StateDegraded {
		t.Errorf("ready %t, state %s", h.Ready, h.State)
	}

	r.grant(user, "list", "watch")
	r.eventually("it is ready", func() bool { h, _ := p.health(); return h.Ready && h.Lease.Held })
	r.eventually("the refused finalizer is shown", func() bool {
		return strings.Contains(p.setAside("deployments", "web"), "forbidden")
	})
	r.eventually("it is degraded for lack of permission", func() bool {
		h, _ := p.health()
		return h.State == fleet.StateDegraded && strings.Contains(p.reasons(), kube.ReasonAPIForbidden)
	})
	r.eventually("the mirror is whole nevertheless", func() bool { return r.mirror(fleet.KeySynced).epoch != 0 })
	if e := r.mirrored("deployment.web", `"invalid":"it has no finalizer`); strings.Contains(e.value, "north") {
		t.Errorf("mirrored without a finalizer: %s", e.value)
	}
	if now := r.read(kube.Deployments, "web"); now.GetResourceVersion() != before.GetResourceVersion() {
		t.Error("the Deployment was changed")
	}

	r.grant(user, "patch")
	r.mirrored("deployment.web", "north")
	if got := text(r.read(kube.Deployments, "web").GetFinalizers()); got != `["fleet.harmony.dev/desired-state"]` {
		t.Errorf("finalizers are %s", got)
	}
	r.eventually("nothing is set aside", func() bool { return p.setAside("deployments", "web") == "" })
	r.eventually("it is not degraded", func() bool { h, _ := p.health(); return h.State == fleet.StateReady })
}

// The mirror is lost while finalizers are missing that may not be added: that there is no entry must not mean that
// there is no resource.
func TestDegraded_NoFinalizerAndNoEntry(t *testing.T) {
	r := newRig(t)
	p := r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	r.create(kube.Devices, "pi-1", map[string]any{"quarantined": true})
	r.mirrored("deployment.web", "north")
	r.mirrored("device.pi-1", "quarantined")
	p.stop()
	r.patch(kube.Deployments, "web", `{"metadata":{"finalizers":[]}}`)
	r.patch(kube.Devices, "pi-1", `{"metadata":{"finalizers":[]}}`)
	user := "patcher-of-" + r.namespace
	r.grant(user, "list", "watch")
	as := r.kubeconfigWith(func(_, u map[string]any) { u["as"] = user })

	p = r.start("p2", "--kubeconfig", as)
	r.eventually("the mirror is whole", func() bool {
		epoch := r.mirror(fleet.KeyEpoch)
		return epoch.value != "" && strings.Contains(epoch.value, "p2") && r.mirror(fleet.KeySynced).epoch == epoch.revision
	})
	r.eventually("both are set aside, and kept", func() bool {
		return strings.Contains(p.setAside("deployments", "web"), "(kept)") && strings.Contains(p.setAside("devices", "pi-1"), "(kept)")
	})
	r.mirrored("deployment.web", "north")
	r.mirrored("device.pi-1", "quarantined")
	js, err := r.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(fleet.StreamName(fleet.BucketResources)); err != nil {
		t.Fatal(err)
	}
	r.eventually("the new mirror is whole", func() bool { return r.mirror(fleet.KeySynced).epoch != 0 })
	for _, key := range []string{"deployment.web", "device.pi-1"} {
		e := r.mirror(key)
		if !strings.Contains(e.value, `"invalid":"it has no finalizer`) || strings.Contains(e.value, "north") || strings.Contains(e.value, "quarantined") {
			t.Errorf("%s is %q in a mirror that is whole", key, e.value)
		}
	}
	r.eventually("both are set aside, and not kept", func() bool {
		web, pi := p.setAside("deployments", "web"), p.setAside("devices", "pi-1")
		return strings.Contains(web, "forbidden") && strings.Contains(pi, "forbidden") && !strings.Contains(web+pi, "kept")
	})
	r.create(kube.Deployments, "late", selecting("south"))
	r.mirrored("deployment.late", `"invalid":"it has no finalizer`)

	r.grant(user, "patch")
	r.mirrored("deployment.web", "north")
	r.mirrored("deployment.late", "south")
	r.mirrored("device.pi-1", "quarantined")
}

func TestDegraded_WritesAreNotAllowed(t *testing.T) {
	r := newRig(t)
	user := "patcher-of-" + r.namespace
	r.grant(user, "list", "watch")
	r.grantOn(user, fleet.Group, "deployments", "patch")
	p := r.ready("p1", "--kubeconfig", r.kubeconfigWith(func(_, u map[string]any) { u["as"] = user }))
	s := r.sender(fleet.ServiceAggregator)
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	u := r.read(kube.Deployments, "web")
	seq := uint64(0)
	writes := []struct {
		name   string
		ask    func() (string, error)
		allow  func()
		result string
	}{
		{"patch deployments/status", func() (string, error) {
			seq++
			return ask(r, fleet.StatusApply, statusRequest(s.from(), u, seq, fleet.ConditionFalse, 1))
		}, func() { r.grantOn(user, fleet.Group, "deployments/status", "patch") }, fleet.ResultPatched},
		{"create devices", func() (string, error) {
			return ask(r, fleet.DeviceApply, fleet.DeviceApplyRequest{Sender: s.from(), Device: "pi-1"})
		}, func() { r.grantOn(user, fleet.Group, "devices", "create", "patch") }, fleet.ResultPatched},
		{"get events", func() (string, error) {
			return ask(r, fleet.EventRecord, fleet.EventRecordRequest{
				Sender: s.from(), Kind: fleet.KindDeployment, Name: "web", UID: string(u.GetUID()), Type: "Normal", Reason: "R",
			})
		}, func() { r.grantOn(user, "", "events", "get", "create", "patch") }, ""},
	}
	for _, w := range writes {
		_, err := w.ask()
		r.want("", err, "500 "+kube.ReasonRefused)
		r.eventually("the health says that it may not "+w.name, func() bool {
			h, _ := p.health()
			return h.State == fleet.StateDegraded && strings.Contains(text(h.Reasons), kube.ReasonAPIForbidden) && strings.Contains(text(h.Reasons), w.name)
		})
		w.allow()
		r.eventually("it may "+w.name, func() bool { result, err := w.ask(); return err == nil && result == w.result })
		r.eventually("it is not degraded", func() bool { h, _ := p.health(); return h.State == fleet.StateReady })
	}
}

func TestDegraded_TheNamespaceDoesNotExist(t *testing.T) {
	r := newRig(t)
	r.namespace += "-x"
	p := r.ready("p1")
	s := r.sender(fleet.ServiceAggregator)
	apply := func() (string, error) {
		return ask(r, fleet.DeviceApply, fleet.DeviceApplyRequest{Sender: s.from(), Device: "pi-1"})
	}
	_, err := apply()
	r.want("", err, "503 "+kube.ReasonNamespaceMissing)
	r.eventually("the health says what to do", func() bool {
		h, _ := p.health()
		return h.State == fleet.StateDegraded && strings.Contains(text(h.Reasons), "kubectl create namespace "+r.namespace)
	})
	namespace := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": r.namespace}}
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	if _, err := r.client.Resource(gvr).Create(r.ctx, &unstructured.Unstructured{Object: namespace}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the Device is created", func() bool { _, err := apply(); return err == nil })
	r.eventually("it is not degraded", func() bool { h, _ := p.health(); return h.State == fleet.StateReady })
}

func TestFinalizers_StrippedByHandComeBack(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	before := r.mirrored("deployment.web", "north")
	r.patch(kube.Deployments, "web", `{"metadata":{"finalizers":["example.com/other"]}}`)
	r.eventually("the finalizer is back beside the other", func() bool {
		return text(r.read(kube.Deployments, "web").GetFinalizers()) == `["example.com/other","fleet.harmony.dev/desired-state"]`
	})
	if after := r.mirror("deployment.web"); after.revision != before.revision {
		t.Errorf("the mirror was written: %+v", after)
	}
}

// What cannot be carried is mirrored as invalid: its status must say so.
func TestInvalid_TooLargeToCarry(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	large := strings.Repeat("x", fleet.MaxMirrorSize)
	r.patch(kube.Deployments, "web", `{"spec":{"score":{"data":{"content":"`+large+`"}}}}`)
	r.mirrored("deployment.web", `"generation":2,"targetSelector":{},"score":{"type":""},"invalid":"it cannot be mirrored`)
	r.create(kube.Deployments, "other", selecting("south"))
	r.mirrored("deployment.other", "south")

	r.delete(kube.Deployments, "web")
	r.mirrored("deployment.web", `"deleting":true`)
}

// A message that the server would drop must not take the others with it.
func TestInvalid_TooLargeForTheServer(t *testing.T) {
	r := newRig(t, fleettest.WithOptions(func(o *server.Options) { o.MaxPayload = 64 << 10 }))
	r.ready("p1")
	r.create(kube.Deployments, "web", selecting("north"))
	before := r.mirrored("deployment.web", "north")
	r.patch(kube.Deployments, "web", `{"spec":{"score":{"data":{"content":"`+strings.Repeat("x", 64<<10)+`"}}}}`)
	r.mirrored("deployment.web", "max_payload")
	r.create(kube.Deployments, "other", selecting("south"))
	if e := r.mirrored("deployment.other", "south"); e.epoch != before.epoch {
		t.Errorf("written under epoch %d after %d", e.epoch, before.epoch)
	}
	r.delete(kube.Deployments, "web")
	r.mirrored("deployment.web", `"deleting":true`)
}

func TestDegraded_TheMirrorIsFull(t *testing.T) {
	r := newRig(t)
	p := r.ready("p1", "--kv-max-bytes", "65536")
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	epochs := 0
	sub, err := r.nc.SubscribeSync(fleet.KeySubject(fleet.BucketResources, fleet.KeyEpoch))
	if err != nil {
		t.Fatal(err)
	}
	r.patch(kube.Deployments, "web", `{"spec":{"score":{"data":"`+strings.Repeat("x", 64<<10)+`"}}}`)
	r.eventually("the health says why", func() bool {
		h, _ := p.health()
		return h.State == fleet.StateDegraded && strings.Contains(text(h.Reasons), keeper.ReasonMirrorNotWritten) &&
			strings.Contains(text(h.Reasons), "maximum bytes exceeded")
	})
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		if _, err := sub.NextMsg(time.Until(end)); err == nil {
			epochs++
		}
	}
	if epochs > 5 {
		t.Errorf("%d epochs in vain", epochs)
	}
	r.patch(kube.Deployments, "web", `{"spec":{"score":{"data":"small"}}}`)
	r.mirrored("deployment.web", "small")
	r.eventually("it is not degraded", func() bool { h, _ := p.health(); return h.State == fleet.StateReady })
}

func TestDegraded_NoAPIServer(t *testing.T) {
	r := newRig(t)
	p := r.start("p1", "--kubeconfig", r.kubeconfigWith(func(cluster, _ map[string]any) {
		cluster["server"] = "https://127.0.0.1:1"
	}))
	r.eventually("the health says so", func() bool {
		return strings.Contains(p.reasons(), kube.ReasonAPIUnreachable)
	})
	h, _ := p.health()
	if h.Ready || h.Lease.Held || h.State != fleet.StateDegraded {
		t.Errorf("health is %s", text(h))
	}
}
