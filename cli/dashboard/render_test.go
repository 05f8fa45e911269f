package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const hostile = `"><script>window.__xss=1</script><img src=x onerror=alert(1)>'{{.}}`

// hostileViews are views of every page, with such text wherever a device can put text.
func hostileViews() map[string]*view {
	report := fleet.PairView{
		Device: "pi-1", Deployment: "web", Class: fleet.ClassFailed, DesiredHash: "d", ObservedHash: hostile, Phase: hostile,
		LastEventAt: hostile, LastError: hostile,
	}
	deployment := fleet.DeploymentView{Name: "web", ScoreType: hostile, TargetSelector: fleet.Selector{MatchLabels: map[string]string{"a": hostile}}}
	deployment.Status.Aggregate = fleet.Aggregate{MatchedDeviceCount: 1, Failed: 1, LastError: &fleet.LastError{Device: "pi-1", Message: hostile, At: noon}}
	deployment.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionStalled, Status: fleet.ConditionTrue, Reason: hostile, Message: hostile}}
	device := fleet.DeviceView{Name: "pi-1", Agent: hostile, Labels: map[string]string{hostile: hostile}, Inventory: map[string]string{hostile: hostile}, State: hostile}

	p := picture.Picture{Link: picture.Link{Connected: true}, At: noon}
	p.Deployments = picture.Part[[]fleet.DeploymentView]{Value: []fleet.DeploymentView{deployment}, Fresh: fleet.Freshness{AsOf: noon, Reason: hostile}, Got: noon}
	p.Devices = picture.Part[[]fleet.DeviceSummary]{Value: []fleet.DeviceSummary{{Name: hostile, Class: hostile}, {Name: "pi-1", Class: hostile}}, Got: noon, Err: hostile}
	p.Services = []picture.Service{{Name: fleet.ServiceAggregator, Err: hostile, Replicas: []picture.Replica{{Got: noon, Health: fleet.Health{
		Service: fleet.ServiceAggregator, Instance: hostile, Version: hostile, Reasons: []fleet.Reason{{Reason: hostile, Message: hostile}},
		Sources: []fleet.Source{{Name: "device-state", Reason: hostile, Set: []fleet.Poison{{Bucket: "device-state", Key: hostile, Error: hostile}}}},
	}}}}}
	views := map[string]*view{}
	add := func(pg page, body any) {
		v := &view{page: pg, Path: "/x?q=" + hostile, Title: hostile, Now: noon, P: p, Banner: picture.Judge(p), Body: body}
		v.Acts = acts{Offered: true, LoggedIn: true, Forget: true}
		views[pg.name] = v
	}
	add(overviewPage, nil)
	add(operatorPage, nil)
	add(devicesPage, devicesBody{Class: hostile, Query: hostile, Items: p.Devices.Value, Total: 1, Next: "/devices?after=x"})
	get := picture.Part[fleet.DeploymentsGetResponse]{Got: noon, Err: hostile}
	get.Value.Deployment, get.Value.Pairs = deployment, []fleet.PairView{report}
	get.Value.Changes = []fleet.Change{{At: noon, Kind: fleet.ChangeReported, Device: "pi-1", Phase: hostile}}
	why := picture.Part[fleet.DeploymentExplainResponse]{Got: noon}
	why.Value.Groups = []fleet.VerdictGroup{{Verdict: hostile, Reason: hostile, Next: hostile, Count: 1, Devices: []fleet.DeviceID{"pi-1"}}}
	add(deploymentPage, deploymentBody{Name: "web", Get: get, Explain: why})
	one := picture.Part[fleet.DevicesGetResponse]{Got: noon}
	one.Value.Device, one.Value.Pairs = device, []fleet.PairView{report}
	verdicts := picture.Part[fleet.DeviceVerdictsResponse]{Got: noon}
	verdicts.Value.Items = []fleet.DeviceVerdict{{Deployment: "web", Explanation: fleet.Explanation{Verdict: hostile, Message: hostile, Next: hostile, Facts: []string{hostile}, Pair: &report}}}
	add(devicePage, deviceBody{Name: "pi-1", Get: one, Verdicts: verdicts})
	plan := picture.Part[fleet.PlanShowResponse]{Got: noon}
	plan.Value.Hold = &fleet.Hold{ID: hostile, Deletes: 1, Keys: 2}
	plan.Value.Deletes = []fleet.PlanDelete{{Key: hostile, Cause: hostile, Held: true}}
	add(holdPage, plan)
	add(page{name: "message", sections: []string{"message"}}, hostile)
	add(page{name: "login", sections: []string{"login"}}, hostile)
	return views
}

func TestRender_WhatDevicesSayIsText(t *testing.T) {
	for name, v := range hostileViews() {
		html, err := renderPage(v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text := string(html)
		for _, bad := range []string{"<script>window", "<img", "onerror=alert(1)>"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q unescaped", name, bad)
			}
		}
		if name != "devices" && !strings.Contains(text, "window.__xss") {
			t.Errorf("%s does not show the text at all: this test proves nothing for it", name)
		}
		if strings.Contains(text, "style=") || strings.Contains(text, "<style") {
			t.Errorf("%s has a style that the policy refuses", name)
		}
	}
}

// A page of each kind has what the policy of the pages demands of it, and nothing twice.
func TestRender_IDsAreUnique(t *testing.T) {
	for name, v := range hostileViews() {
		html, err := renderPage(v)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for part := range strings.SplitSeq(string(html), ` id="`) {
			id, _, _ := strings.Cut(part, `"`)
			if seen[id] {
				t.Errorf("%s has %q twice", name, id)
			}
			seen[id] = true
		}
		for _, section := range v.page.sections {
			if !seen[section] {
				t.Errorf("%s: section %q has no element of its id: it would not be kept up to date", name, section)
			}
		}
	}
}

func TestRender_HashIsWithoutTheTimeThatItIsAsOf(t *testing.T) {
	v := hostileViews()["overview"]
	first, err := renderSection(v, "deployments")
	if err != nil {
		t.Fatal(err)
	}
	v.P.Deployments.Fresh.AsOf = noon.Add(time.Minute)
	later, err := renderSection(v, "deployments")
	if err != nil {
		t.Fatal(err)
	}
	if first.Hash != later.Hash || first.asOf == later.asOf || later.asOf == "" {
		t.Errorf("hash %s and %s, as of %q and %q", first.Hash, later.Hash, first.asOf, later.asOf)
	}
	v.P.Deployments.Value[0].Status.Aggregate.Failed = 7
	if changed, err := renderSection(v, "deployments"); err != nil || changed.Hash == first.Hash {
		t.Errorf("another number has the same hash (%v)", err)
	}
}

func fleetOf(n int) []fleet.DeviceSummary {
	out := make([]fleet.DeviceSummary, n)
	for i := range out {
		out[i] = fleet.DeviceSummary{Name: fleet.DeviceID(fmt.Sprintf("device-%05d", i)), State: fleet.DeviceFresh, Class: fleet.ClassRunning}
	}
	return out
}

// sent runs an update of a stream and returns the events, by name.
func sent(t *testing.T, st *stream, v *view) map[string][]json.RawMessage {
	t.Helper()
	w := httptest.NewRecorder()
	st.w = w
	if err := st.sections(v); err != nil {
		t.Fatal(err)
	}
	out := map[string][]json.RawMessage{}
	for event := range strings.SplitSeq(strings.TrimSpace(w.Body.String()), "\n\n") {
		name, data, ok := strings.Cut(event, "\ndata: ")
		if ok {
			out[strings.TrimPrefix(name, "event: ")] = append(out[strings.TrimPrefix(name, "event: ")], json.RawMessage(data))
		}
	}
	return out
}

func TestStream_SendsWhatChanged(t *testing.T) {
	v := hostileViews()["overview"]
	v.P.Devices = picture.Part[[]fleet.DeviceSummary]{Value: fleetOf(10_000), Got: noon}
	html, err := renderPage(v)
	if err != nil {
		t.Fatal(err)
	}
	if len(html) > 500_000 {
		t.Errorf("a page of 10,000 devices has %d bytes", len(html))
	}
	_, have, _ := strings.Cut(string(html), `data-have="`)
	have, _, _ = strings.Cut(have, `"`)
	st := &stream{have: haveOf(have), asOf: map[string]string{}}

	if got := sent(t, st, v); len(got["fragment"])+len(got["cells"]) > 0 {
		t.Errorf("nothing has changed since the page, and it sends %d fragments", len(got["fragment"]))
	}
	v.P.Devices.Value = fleetOf(10_000)
	v.P.Devices.Value[7].Class = fleet.ClassFailed
	got := sent(t, st, v)
	if len(got["cells"]) != 1 || string(got["cells"][0]) != `[["device-00007","failed"]]` {
		t.Errorf("cells %s", got["cells"])
	}
	if len(got["fragment"]) != 1 { // the numbers of the legend
		t.Errorf("%d fragments", len(got["fragment"]))
	}
	v.P.Devices.Value = fleetOf(10_001)
	if got := sent(t, st, v); len(got["fragment"]) != 2 || len(got["cells"]) != 0 {
		t.Errorf("another device: %d fragments", len(got["fragment"]))
	}
}

func TestBrake_IsNotSaidToHoldNothingWhenThatIsNotKnown(t *testing.T) {
	held := fleet.Health{Service: fleet.ServiceReconciler, Instance: "r", Reasons: []fleet.Reason{{Reason: fleet.ReasonHeld, Message: "12 deletes wait"}}}
	p := picture.Picture{Link: picture.Link{Connected: true}, Services: []picture.Service{{Name: fleet.ServiceReconciler, Heard: noon, Replicas: []picture.Replica{{Health: held}}}}}
	if b := brakeOf(p); len(b.Held) != 1 || b.Unknown != "" {
		t.Errorf("%+v", b)
	}
	p.Services[0].Missed = 2
	if b := brakeOf(p); len(b.Held) != 1 || !strings.Contains(b.Unknown, "12:00:00") {
		t.Errorf("%+v", b)
	}
	p.Services[0].Missed, p.Link.Connected, p.Services[0].Replicas = 0, false, nil
	if b := brakeOf(p); b.Unknown == "" {
		t.Errorf("%+v", b)
	}
}

func TestGridHTML_TakesNothingButNames(t *testing.T) {
	got := string(gridHTML([]fleet.DeviceSummary{{Name: hostile}, {Name: "pi-1", Class: hostile}, {Name: "pi-2", Class: fleet.ClassFailed}, {Name: "pi-3", State: fleet.DeviceStale}}))
	if got != "<i id=d-pi-2 class=failed></i><i id=d-pi-3 class=stale></i>" {
		t.Error(got)
	}
}

func TestBar_FillsItsWidth(t *testing.T) {
	for _, a := range []fleet.Aggregate{
		{MatchedDeviceCount: 10_000, Running: 9_997, Failed: 1, Pending: 1, Stale: 1},
		{MatchedDeviceCount: 3, Running: 1, Failed: 2},
		{MatchedDeviceCount: 1, Stale: 1},
	} {
		at := 0.0
		for _, s := range bar(a) {
			if s.At < at-0.001 || s.Wide < 1 {
				t.Errorf("%+v: %+v", a, s)
			}
			at = s.At + s.Wide
		}
		if at < 99.9 || at > 100.1 {
			t.Errorf("%+v ends at %v", a, at)
		}
	}
	if len(bar(fleet.Aggregate{})) != 0 {
		t.Error("nothing is something")
	}
}

func TestRoute(t *testing.T) {
	for path, want := range map[string]string{
		"/": "overview", "/deployments": "deployments", "/deployments/web": "deployment", "/devices": "devices", "/devices/pi-7": "device",
		"/operator": "operator", "/hold": "hold", "/nosuch": "", "/devices/": "", "/devices/A": "", "/devices/a/b": "", "/deployments/..": "", "": "", "//": "",
	} {
		if p, _, ok := route(path); ok != (want != "") || ok && p.name != want {
			t.Errorf("%q: %s %t, want %q", path, p.name, ok, want)
		}
	}
}

func BenchmarkRenderOverview(b *testing.B) {
	v := hostileViews()["overview"]
	v.P.Devices = picture.Part[[]fleet.DeviceSummary]{Value: fleetOf(10_000), Got: noon}
	for b.Loop() {
		if _, err := renderPage(v); err != nil {
			b.Fatal(err)
		}
	}
}
