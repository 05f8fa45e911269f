package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
	"harmony.dev/services/patcher/kube"
)

// manifest parses a resource written as YAML.
func manifest(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	b, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatalf("read %s: %v", text, err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(b); err != nil {
		t.Fatalf("read %s: %v", text, err)
	}
	return u
}

func kindOf(t *testing.T, u *unstructured.Unstructured) kube.Kind {
	t.Helper()
	k, err := kube.KindNamed(u.GetKind())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestExamples_Apply(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	files, err := filepath.Glob(repository("examples", "*.yaml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("found the examples %v, %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		u := manifest(t, string(b))
		if u.GetNamespace() != "" {
			t.Errorf("%s names a namespace", file)
		}
		if u.GetName() != strings.TrimSuffix(filepath.Base(file), ".yaml") {
			t.Errorf("%s contains %s", file, u.GetName())
		}
		apply := metav1.ApplyOptions{FieldManager: "kubectl"}
		if _, err := r.resources(kindOf(t, u)).Apply(r.ctx, u.GetName(), u, apply); err != nil {
			t.Errorf("apply %s: %v", file, err)
			continue
		}
		e := r.mirrored("deployment."+u.GetName(), `"uid"`)
		var d fleet.MirrorDeployment
		decodeJSON(t, e.value, &d)
		if err := d.Score.Validate(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestCRD_Validation(t *testing.T) {
	const deployment = "apiVersion: fleet.harmony.dev/v1alpha1\nkind: Deployment\nmetadata: {name: %s}\nspec: %s\n"
	spec := func(selector string) string {
		return "{targetSelector: " + selector + ", score: {type: sim}}"
	}
	score := func(score string) string { return "{targetSelector: {}, score: " + score + "}" }
	long := strings.Repeat("a", 64)
	dns := func(n int) string { return strings.Repeat("abcdefghi.", 40)[:n-1] + "z" }
	tests := []struct {
		name     string
		resource string // of a Deployment
		spec     string
		refused  string // part of the message; "" means accepted
	}{
		{"minimal", "ok", spec("{}"), ""},
		{"name of 63 bytes", long[:63], spec("{}"), ""},
		{"name of 64 bytes", long, spec("{}"), "must be a DNS label"},
		{"name with a dot", "a.b", spec("{}"), "must be a DNS label"},
		{"name in upper case", "Web", spec("{}"), "must be a DNS label"},
		{"no spec", "a", "null", "Required value"},
		{"no selector", "a", "{score: {type: sim}}", "targetSelector: Required value"},
		{"no score", "a", "{targetSelector: {}}", "score: Required value"},
		{"labels", "labels", spec("{matchLabels: {region: north, x.example.com/a_b.C: '', e: V-1_2.3}}"), ""},
		{"label key", "a", spec("{matchLabels: {'a b': c}}"), "label key"},
		{"label prefix", "a", spec("{matchLabels: {'A.b/c': c}}"), "label key"},
		{"label key too long", "a", spec("{matchLabels: {" + long + ": c}}"), "label key"},
		{"label prefix of 253 bytes", "prefix", spec("{matchLabels: {" + dns(253) + "/c: d}, matchExpressions: [{key: " + dns(253) + "/e, operator: Exists}]}"), ""},
		{"label prefix of 254 bytes", "a", spec("{matchLabels: {" + dns(254) + "/c: d}}"), "label key"},
		{"long part of a label prefix", "part", spec("{matchLabels: {" + long + ".io/c: d}, matchExpressions: [{key: " + long + ".io/e, operator: Exists}]}"), ""},
		{"expression prefix of 254 bytes", "a", spec("{matchExpressions: [{key: " + dns(254) + "/c, operator: Exists}]}"), "label key"},
		{"expression prefix of 315 bytes", "a", spec("{matchExpressions: [{key: " + dns(315) + "/c, operator: Exists}]}"), "label key"},
		{"label value", "a", spec("{matchLabels: {a: '-'}}"), "should match"},
		{"label value too long", "a", spec("{matchLabels: {a: " + long + "}}"), "Too long"},
		{"operators", "operators", spec("{matchExpressions: [{key: a, operator: In, values: [b, '']}, {key: x.io/a, operator: NotIn, values: [b]}, {key: c, operator: Exists}, {key: d, operator: DoesNotExist, values: []}]}"), ""},
		{"unknown operator", "a", spec("{matchExpressions: [{key: a, operator: Gt, values: ['1']}]}"), "Unsupported value"},
		{"In without values", "a", spec("{matchExpressions: [{key: a, operator: In}]}"), "need at least one value"},
		{"NotIn with no values", "a", spec("{matchExpressions: [{key: a, operator: NotIn, values: []}]}"), "need at least one value"},
		{"Exists with values", "a", spec("{matchExpressions: [{key: a, operator: Exists, values: [b]}]}"), "take no values"},
		{"DoesNotExist with values", "a", spec("{matchExpressions: [{key: a, operator: DoesNotExist, values: [b]}]}"), "take no values"},
		{"expression key", "a", spec("{matchExpressions: [{key: 'a/', operator: Exists}]}"), "should match"},
		{"any data", "data", score("{type: my.org/v1-x, data: {a: [1, {b: 2.5}], c: null}}"), ""},
		{"data that is no object", "list", score("{type: a, data: [1, x]}"), ""},
		{"no type", "a", score("{data: {}}"), "type: Required value"},
		{"type", "a", score("{type: '1a'}"), "should match"},
		{"type too long", "a", score("{type: " + long + "}"), "Too long"},
	}
	r := newRig(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := manifest(t, fmt.Sprintf(deployment, tt.resource, tt.spec))
			created, err := r.resources(kube.Deployments).Create(r.ctx, u, metav1.CreateOptions{FieldValidation: "Strict"})
			checkRefused(t, err, tt.refused)
			if err == nil {
				checkUsable(t, created)
			}
		})
	}
	for name, refused := range map[string]string{"pi-07": "", "pi.07": "must be a DNS label", long: "must be a DNS label"} {
		u := manifest(t, "apiVersion: fleet.harmony.dev/v1alpha1\nkind: Device\nmetadata: {name: "+name+"}\nspec: {quarantined: false}\n")
		_, err := r.resources(kube.Devices).Create(r.ctx, u, metav1.CreateOptions{FieldValidation: "Strict"})
		checkRefused(t, err, refused)
	}
}

// checkUsable checks that what the schema accepts means something to the operator.
func checkUsable(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	var d fleet.MirrorDeployment
	decodeJSON(t, text(u.Object["spec"]), &d)
	if _, err := selector.Compile(d.TargetSelector); err != nil {
		t.Error(err)
	}
	if err := d.Score.Validate(); err != nil {
		t.Error(err)
	}
}

func checkRefused(t *testing.T, err error, refused string) {
	t.Helper()
	switch {
	case refused == "" && err != nil:
		t.Errorf("refused: %v", err)
	case refused != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), refused)):
		t.Errorf("got %v, want a refusal with %q", err, refused)
	}
}

// Every field of the contract's types is in the schema: the apiserver would drop it otherwise.
func TestCRD_CarriesTheWholeContract(t *testing.T) {
	r := newRig(t)
	r.ready("p1")
	s := r.sender(fleet.ServiceAggregator)
	r.create(kube.Deployments, "web", selecting("north"))
	r.mirrored("deployment.web", "north")
	req := statusRequest(s.from(), r.read(kube.Deployments, "web"), 1, fleet.ConditionFalse, 1)
	req.Status.Aggregate.Failed, req.Status.Aggregate.Pending = 1, 0
	req.Status.Aggregate.StaleLastKnown = fleet.StaleLastKnown{}
	req.Status.Aggregate.LastError = &fleet.LastError{Device: "pi-1", Message: "no space", At: atTime(t, "2026-01-02T03:04:05.678Z")}
	for i := range req.Status.Conditions {
		req.Status.Conditions[i].ObservedGeneration = 1
	}
	result, err := ask(r, fleet.StatusApply, req)
	r.want(result, err, fleet.ResultPatched)
	var stored fleet.DeploymentStatus
	decodeJSON(t, text(r.read(kube.Deployments, "web").Object["status"]), &stored)
	for i := range stored.Conditions {
		stored.Conditions[i].LastTransitionTime = nil
	}
	if text(stored) != text(req.Status) {
		t.Errorf("stored %s\nof     %s", text(stored), text(req.Status))
	}

	seen := atTime(t, "2026-01-02T03:04:05.678Z")
	device := fleet.DeviceApplyRequest{Sender: s.from(), Device: "pi-1", Status: fleet.DeviceStatus{
		State: fleet.DeviceStale, LastSeen: &seen, Inventory: map[string]string{"model": "pi5"}, AgentVersion: "1.0",
	}}
	result, err = ask(r, fleet.DeviceApply, device)
	r.want(result, err, fleet.ResultPatched)
	if got, want := text(r.read(kube.Devices, "pi-1").Object["status"]), text(device.Status); !sameJSON(t, got, want) {
		t.Errorf("stored %s\nof     %s", got, want)
	}
}

func TestCRD_PrinterColumns(t *testing.T) {
	r := newRig(t)
	r.create(kube.Deployments, "web", selecting("north"))
	r.patch(kube.Deployments, "web", `{"status":{"aggregate":{"matchedDeviceCount":5,"running":1,"failed":2,"pending":3,"stale":4},
		"conditions":[{"type":"Ready","status":"False","reason":"Pending"}]}}`, "status")
	r.create(kube.Devices, "pi-1", map[string]any{"quarantined": true})
	r.patch(kube.Devices, "pi-1", `{"status":{"state":"Stale","lastSeen":"2026-01-02T03:04:05Z","agentVersion":"1.0"}}`, "status")

	got := r.table(kube.Deployments)
	want := "Name=web Matched=5 Running=1 Failed=2 Pending=3 Stale=4 Ready=False Reason=Pending(wide) Score=sim(wide) Age="
	if !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = r.table(kube.Devices)
	if !strings.HasPrefix(got, "Name=pi-1 State=Stale Last Seen=") || !strings.Contains(got, " Agent=1.0 Quarantined=true Age=") {
		t.Errorf("got %s", got)
	}
}

// table asks for the one resource of a kind as kubectl get shows it.
func (r *rig) table(k kube.Kind) string {
	r.t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(rest.CopyConfig(r.api.Config))
	if err != nil {
		r.t.Fatal(err)
	}
	path := "/apis/" + kube.APIVersion + "/namespaces/" + r.namespace + "/" + k.Resource
	b, err := client.RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(b, &table); err != nil || len(table.Rows) != 1 {
		r.t.Fatalf("got the table %s, %v", b, err)
	}
	var cells []string
	for i, column := range table.ColumnDefinitions {
		cell := fmt.Sprintf("%s=%v", column.Name, table.Rows[0].Cells[i])
		if column.Priority > 0 {
			cell += "(wide)"
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, " ")
}

func TestCRD_Names(t *testing.T) {
	r := newRig(t)
	client, err := discovery.NewDiscoveryClientForConfig(rest.CopyConfig(r.api.Config))
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.ServerResourcesForGroupVersion(kube.APIVersion)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, resource := range list.APIResources {
		got[resource.Name] = fmt.Sprint(resource.ShortNames, resource.Categories)
	}
	want := map[string]string{"deployments": "[fdep] [fleet]", "deployments/status": "[] []", "devices": "[fdev] [fleet]", "devices/status": "[] []"}
	if text(got) != text(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// kubectl explain shows a description for every field.
func TestCRD_EveryFieldIsDescribed(t *testing.T) {
	for _, k := range kube.Kinds() {
		b, err := os.ReadFile(repository("deploy", "crds", k.Resource+"."+fleet.Group+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		crd := manifest(t, string(b))
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		for _, v := range versions {
			schema, _, _ := unstructured.NestedMap(v.(map[string]any), "schema", "openAPIV3Schema")
			checkDescribed(t, k.Name, schema)
		}
	}
}

func checkDescribed(t *testing.T, path string, schema map[string]any) {
	t.Helper()
	if path != "Deployment.metadata" && path != "Device.metadata" && schema["description"] == nil {
		t.Errorf("%s has no description", path)
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		checkDescribed(t, path+"."+name, property.(map[string]any))
	}
	if items, ok := schema["items"].(map[string]any); ok && items["type"] == "object" {
		checkDescribed(t, path+"[]", items)
	}
}
