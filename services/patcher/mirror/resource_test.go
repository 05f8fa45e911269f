package mirror_test

import (
	"errors"
	"strings"
	"testing"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/mirror"
)

func TestDeployment_MirrorsWhatTheOperatorReads(t *testing.T) {
	key, want := mirror.Deployment(resource("web", "u1", 3, finalizers(fleet.FinalizerDesiredState), spec(map[string]any{
		"targetSelector": map[string]any{
			"matchLabels":      map[string]any{"region": "north"},
			"matchExpressions": []any{map[string]any{"key": "arch", "operator": "In", "values": []any{"arm64"}}},
		},
		"score": map[string]any{"type": "container", "data": map[string]any{"z": int64(1), "a": "<b>", "f": 1.5}},
	})), fleet.MaxMirrorSize)
	if key != "deployment.web" || want.Refused != nil {
		t.Fatalf("got key %s, want %+v", key, want)
	}
	const value = `{"uid":"u1","generation":3,"targetSelector":{"matchLabels":{"region":"north"},` +
		`"matchExpressions":[{"key":"arch","operator":"In","values":["arm64"]}]},` +
		`"score":{"type":"container","data":{"a":"<b>","f":1.5,"z":1}}}`
	if got := string(want.Value); got != value {
		t.Errorf("got  %s\nwant %s", got, value)
	}
}

func TestDevice_MirrorsWhatTheOperatorReads(t *testing.T) {
	r := resource("pi-07", "u2", 1,
		finalizers(fleet.FinalizerDesiredState, fleet.FinalizerDeviceData),
		spec(map[string]any{"quarantined": true}))
	metadata := r["metadata"].(map[string]any)
	metadata["labels"] = map[string]any{"region": "north", "tier": "gateway"}
	metadata["managedFields"] = []any{map[string]any{
		"manager": "fleet-device-labels", "operation": "Apply",
		"fieldsV1": map[string]any{"f:metadata": map[string]any{"f:labels": map[string]any{"f:region": map[string]any{}}}},
	}}
	r["status"] = map[string]any{"state": "Stale", "lastSeen": "2026-01-02T03:04:05Z", "agentVersion": "1.2"}
	key, want := mirror.Device(r, fleet.MaxMirrorSize)
	const value = `{"uid":"u2","generation":1,"labels":{"region":"north","tier":"gateway"},"reported":{"region":"north"},` +
		`"status":{"state":"Stale","lastSeen":"2026-01-02T03:04:05Z","agentVersion":"1.2"},"quarantined":true}`
	if key != "device.pi-07" || string(want.Value) != value {
		t.Errorf("got  %s %s (%v)\nwant %s", key, want.Value, want.Refused, value)
	}
}

func TestWant_Gates(t *testing.T) {
	huge := map[string]any{"targetSelector": map[string]any{}, "score": map[string]any{
		"type": "file", "data": map[string]any{"content": strings.Repeat("x", fleet.MaxMirrorSize)},
	}}
	both := finalizers(fleet.FinalizerDesiredState, fleet.FinalizerDeviceData)
	tests := []struct {
		name    string
		of      func(map[string]any, int) (string, mirror.Want)
		r       map[string]any
		value   string // part of it
		missing []string
		refused error
	}{
		{"ours", mirror.Deployment, resource("web", "u", 1, both), `"uid":"u"`, nil, nil},
		{"no finalizer", mirror.Deployment, resource("web", "u", 1), "", []string{fleet.FinalizerDesiredState}, nil},
		{"another's finalizer", mirror.Deployment, resource("web", "u", 1, finalizers("x/y")), "", []string{fleet.FinalizerDesiredState}, nil},
		{"device with one of two", mirror.Device, resource("pi", "u", 1, finalizers(fleet.FinalizerDesiredState)), "", []string{fleet.FinalizerDeviceData}, nil},
		{"deleting without ours", mirror.Deployment, resource("web", "u", 1, finalizers("x/y"), deleting()), `"deleting":true`, nil, nil},
		{"name with a dot", mirror.Deployment, resource("a.b", "u", 1, both), "", nil, fleet.ErrIllegalKey},
		{"too large", mirror.Deployment, resource("web", "u", 1, both, spec(huge)), `"score":{"type":""},"invalid":"it cannot be mirrored: `, nil, nil},
		{"too large and deleting", mirror.Deployment, resource("web", "u", 1, both, spec(huge), deleting()), `"deleting":true`, nil, nil},
		{"unreadable status", mirror.Device, withStatus(resource("pi", "u", 1, both), "not an object"), `"status":{}`, nil, nil},
		{"unreadable spec", mirror.Device, resource("pi", "u", 1, both, spec(map[string]any{"quarantined": "yes"})), "", nil, fleet.ErrInvalid},
		{"unreadable spec and deleting", mirror.Device, resource("pi", "u", 1, both, spec(map[string]any{"quarantined": "yes"}), deleting()), `{"uid":"u","generation":1,"status":{},"deleting":true}`, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, want := tt.of(tt.r, fleet.MaxMirrorSize)
			if got := strings.Join(want.Missing, " "); got != strings.Join(tt.missing, " ") {
				t.Errorf("missing: got %q, want %q", got, tt.missing)
			}
			if !errors.Is(want.Refused, tt.refused) {
				t.Errorf("refused: got %v, want %v", want.Refused, tt.refused)
			}
			if (want.Value != nil) != (tt.value != "") || !strings.Contains(string(want.Value), tt.value) {
				t.Errorf("value: got %s, want it to contain %s", want.Value, tt.value)
			}
		})
	}
}

func TestWant_TooLargeForTheServer(t *testing.T) {
	ours := finalizers(fleet.FinalizerDesiredState)
	content := spec(map[string]any{"score": map[string]any{"type": "file", "data": strings.Repeat("x", 1000)}})
	_, whole := mirror.Deployment(resource("web", "u", 1, ours, content), fleet.MaxMirrorSize)
	size := len(whole.Value)
	if _, want := mirror.Deployment(resource("web", "u", 1, ours, content), size); want.Refused != nil {
		t.Errorf("a value of the largest size is refused: %v", want.Refused)
	}
	if _, want := mirror.Deployment(resource("web", "u", 1, ours, content), size-1); !strings.Contains(string(want.Value), "max_payload") || len(want.Value) >= size {
		t.Errorf("a value that is too large asks for %s, refused %v", want.Value, want.Refused)
	}
	if _, want := mirror.Deployment(resource("web", "u", 1, ours, content, deleting()), size-1); want.Refused != nil || len(want.Value) >= size {
		t.Errorf("deleting, it asks for %s, refused %v", want.Value, want.Refused)
	}
}

// What stands for a resource without a value says no more than that it is there, and why; readers take it.
func TestWant_Placeholder(t *testing.T) {
	decodes := map[string]func(value []byte) (uid, invalid string, err error){
		"deployment": func(b []byte) (string, string, error) {
			d, err := fleet.DecodeMirrorDeployment(b)
			return d.UID, d.Invalid, err
		},
		"device": func(b []byte) (string, string, error) {
			d, err := fleet.DecodeMirrorDevice(b)
			return d.UID, d.Invalid, err
		},
	}
	both := finalizers(fleet.FinalizerDesiredState, fleet.FinalizerDeviceData)
	unreadable := spec(map[string]any{"quarantined": "yes"})
	north := spec(map[string]any{"targetSelector": map[string]any{"matchLabels": map[string]any{"region": "north"}}})
	for _, tt := range []struct {
		name string
		of   func(map[string]any, int) (string, mirror.Want)
		r    map[string]any
		says string // part of why; "" means that there is no placeholder
	}{
		{"deployment without its finalizer", mirror.Deployment, resource("web", "u", 3, north), "no finalizer " + fleet.FinalizerDesiredState},
		{"device without one of two", mirror.Device, resource("pi", "u", 3, finalizers(fleet.FinalizerDesiredState)), "no finalizer " + fleet.FinalizerDeviceData},
		{"device that cannot be read", mirror.Device, resource("pi", "u", 3, both, unreadable), "read the resource"},
		{"name that is no key", mirror.Device, resource("a.b", "u", 3), ""},
		{"deployment with a value", mirror.Deployment, resource("web", "u", 3, both, north), ""},
		{"device with a value", mirror.Device, resource("pi", "u", 3, both), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, want := tt.of(tt.r, fleet.MaxMirrorSize)
			if tt.says == "" {
				if want.Placeholder != nil {
					t.Errorf("a placeholder %s", want.Placeholder)
				}
				return
			}
			kind, _, _ := strings.Cut(key, ".")
			if form := map[string]string{"deployment": `"score":`, "device": `"status":`}[kind]; !strings.Contains(string(want.Placeholder), form) {
				t.Errorf("got %s, want %s in it", want.Placeholder, form)
			}
			uid, invalid, err := decodes[kind](want.Placeholder)
			if err != nil || uid != "u" || !strings.Contains(invalid, tt.says) || strings.Contains(string(want.Placeholder), "north") {
				t.Errorf("got %s (%v)", want.Placeholder, err)
			}
		})
	}
}

type option func(resource map[string]any)

func resource(name, uid string, generation int64, options ...option) map[string]any {
	r := map[string]any{"metadata": map[string]any{"name": name, "uid": uid, "generation": generation}}
	for _, o := range options {
		o(r)
	}
	return r
}

func finalizers(names ...string) option {
	return func(r map[string]any) {
		list := []any{}
		for _, n := range names {
			list = append(list, n)
		}
		r["metadata"].(map[string]any)["finalizers"] = list
	}
}

func spec(s map[string]any) option { return func(r map[string]any) { r["spec"] = s } }

func deleting() option {
	return func(r map[string]any) {
		r["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-02T03:04:05Z"
	}
}

func withStatus(r map[string]any, status any) map[string]any {
	r["status"] = status
	return r
}
