package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hostileText is what a device may write into any text of its own.
var hostileText = "\x1b[2J\x1b]0;owned\x07line\nnext\tcol\u202ereversed\u200b\u2028\x9b31m" + strings.Repeat("x", 900)

// unprintable are the characters that none of the pages may have.
func unprintable(text string) (found []rune) {
	for _, r := range strings.ReplaceAll(text, "\n", "") {
		if printable(string(r)) != string(r) && !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	return found
}

func hostilePair() fleet.PairView {
	return fleet.PairView{
		Device: "pi-07", Deployment: "web", Class: fleet.ClassStale, LastKnown: fleet.ClassFailed, DesiredHash: strings.Repeat("a", 64),
		ObservedHash: hostileText, Phase: fleet.Phase(hostileText), LastEventAt: hostileText, LastError: hostileText,
	}
}

func text(t *testing.T, p *page) string {
	t.Helper()
	var b strings.Builder
	if err := p.writeTo(&b, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Everything that a device may write gets onto each page, and does nothing there: no control of the terminal, no line of
// its own, no end of the table out of sight.
func TestPages_ShowHostileTextAndAreNotHarmed(t *testing.T) {
	fresh := fleet.Freshness{AsOf: noon, Reason: hostileText}
	pair := hostilePair()
	explanation := fleet.Explanation{Verdict: "Failed", Message: hostileText, Facts: []string{hostileText}, Next: hostileText, Pair: &pair}
	hostile := map[string]string{hostileText: hostileText}
	device := fleet.DevicesGetResponse{
		Freshness: fresh, Pairs: []fleet.PairView{pair},
		Device: fleet.DeviceView{Name: "pi-07", State: fleet.DeviceStale, Agent: hostileText, Labels: hostile, Inventory: hostile},
	}
	deployment := fleet.DeploymentView{
		Name: "web", UID: "u", TargetSelector: fleet.Selector{MatchLabels: hostile}, ScoreType: hostileText,
		Status: fleet.DeploymentStatus{
			Aggregate:  fleet.Aggregate{LastError: &fleet.LastError{Device: "pi-07", Message: hostileText}},
			Conditions: []fleet.Condition{{Type: "Ready", Message: hostileText}},
		},
	}
	groups := fleet.DeploymentExplainResponse{Freshness: fresh, Deployment: deployment, Groups: []fleet.VerdictGroup{{Verdict: "Failed", Reason: hostileText, Next: hostileText, Count: 1, Devices: []fleet.DeviceID{"pi-07"}}}}
	verdicts := fleet.DeviceVerdictsResponse{Freshness: fresh, Items: []fleet.DeviceVerdict{{Deployment: "web", Explanation: explanation}}}
	plan := fleet.PlanShowResponse{Freshness: fresh, Invalid: []fleet.PlanInvalid{{Deployment: "web", Message: hostileText}}, InvalidCount: 1}
	for _, wide := range []bool{false, true} {
		for name, p := range map[string]*page{
			"explanation":         explanationPage(topic{"pi-07", "web"}, fleet.DeviceExplainResponse{Freshness: fresh, Explanation: explanation}),
			"device verdicts":     deviceVerdictsPage("pi-07", device, true, verdicts, wide),
			"deployment verdicts": deploymentVerdictsPage(groups, device.Pairs, wide),
			"device":              devicePage(device, wide),
			"deployment":          deploymentPage(fleet.DeploymentsGetResponse{Freshness: fresh, Deployment: deployment, Pairs: device.Pairs}, wide),
			"plan":                presentPage("", plan, wide),
			"preview":             previewPage(preview{Items: []previewItem{{File: hostileText, Error: hostileText, Plan: &plan}}}, wide),
		} {
			got := text(t, p)
			if found := unprintable(got); len(found) > 0 {
				t.Errorf("%s, wide %t: %q reach the terminal", name, wide, found)
			}
			if !strings.Contains(got, "owned") || strings.Contains(got, "\nnext\tcol") {
				t.Errorf("%s, wide %t: the text is not shown, or begins a line:\n%.2000s", name, wide, got)
			}
			if whole := strings.Contains(got, strings.Repeat("x", 900)); wide && !whole {
				t.Errorf("%s: wide does not show all of a text", name)
			}
		}
	}
	for line := range strings.Lines(text(t, deviceVerdictsPage("pi-07", device, true, verdicts, false))) {
		if strings.HasPrefix(line, "web ") && len(line) > 5*cellWidth {
			t.Errorf("a row of %d bytes", len(line))
		}
	}
}

// An answer that is not whole is not shown as if it were, whatever else is on the page.
func TestPages_SayWhatTheyAreOf(t *testing.T) {
	old := fleet.Freshness{AsOf: noon.Add(-time.Minute), Synced: true}
	unsynced := fleet.Freshness{AsOf: noon, Reason: "device-state: rebuilding"}
	p := &page{}
	p.freshness(unsynced, old)
	if got := text(t, p); !strings.Contains(got, "2026-03-01T11:59:00Z") || !strings.Contains(got, "WARNING") || !strings.Contains(got, "device-state: rebuilding") {
		t.Errorf("got %s", got)
	}
	p = &page{}
	p.freshness(old)
	if got := text(t, p); strings.Contains(got, "WARNING") {
		t.Errorf("got %s", got)
	}
}

func TestDeviceVerdictsPage(t *testing.T) {
	seen := noon.Add(-3 * time.Second)
	device := fleet.DevicesGetResponse{
		Freshness: fleet.Freshness{AsOf: noon, Synced: true},
		Device:    fleet.DeviceView{Name: "pi-07", State: fleet.DeviceFresh, LastSeen: &seen, Registered: true, Quarantined: true, Labels: map[string]string{"region": "north"}},
	}
	verdict := func(name fleet.DeploymentName, verdict, message, next string, pair *fleet.PairView) fleet.DeviceVerdict {
		return fleet.DeviceVerdict{Deployment: name, Explanation: fleet.Explanation{Verdict: verdict, Message: message, Next: next, Pair: pair}}
	}
	got := text(t, deviceVerdictsPage("pi-07", device, true, fleet.DeviceVerdictsResponse{Freshness: device.Freshness, Items: []fleet.DeviceVerdict{
		verdict("a", "NoMatch", "label x is not set", "change labels", nil),
		verdict("b", "HashDiffers", "about another value", "wait", &fleet.PairView{DesiredHash: strings.Repeat("a", 64), ObservedHash: strings.Repeat("b", 64), Phase: fleet.PhaseFailed}),
		verdict("c", "NoMatch", "label y is not set", "change labels", nil),
	}}, false))
	want := `device   pi-07
state    Fresh, last seen 3s ago, quarantined
labels   region=north
as of    2026-03-01T12:00:00Z

DEPLOYMENT   VERDICT       DESIRED        REPORTED              WHY
b            HashDiffers   aaaaaaaaaaaa   bbbbbbbbbbbb Failed   about another value
a            NoMatch       -              -                     label x is not set
c            NoMatch       -              -                     label y is not set

next
  b: wait
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDeploymentVerdictsPage(t *testing.T) {
	got := text(t, deploymentVerdictsPage(fleet.DeploymentExplainResponse{
		Freshness: fleet.Freshness{AsOf: noon, Synced: true},
		Deployment: fleet.DeploymentView{
			Name: "web", UID: "u", Generation: 3, TargetSelector: fleet.Selector{MatchLabels: map[string]string{"region": "north"}},
			Status: fleet.DeploymentStatus{ObservedGeneration: 2, Aggregate: fleet.Aggregate{MatchedDeviceCount: 8, Running: 6, Failed: 2}},
		},
		Hold: &fleet.Hold{ID: "h-1", Deletes: 12},
		Groups: []fleet.VerdictGroup{
			{Verdict: "Failed", Reason: "no image", Next: "see the log", Count: 2, Devices: []fleet.DeviceID{"a", "b"}},
			{Verdict: "Failed", Next: "see the log", Count: 1, Devices: []fleet.DeviceID{"z"}},
			{Verdict: "Running", Count: 6, Devices: []fleet.DeviceID{"c", "d"}},
		},
	}, []fleet.PairView{
		{Device: "a", Class: fleet.ClassFailed, DesiredHash: "aa", ObservedHash: "aa", Phase: fleet.PhaseFailed, LastEventAt: "2026-03-01T12:00:00.123+01:00", LastError: "no image"},
		{Device: "s", Class: fleet.ClassStale, LastKnown: fleet.ClassRunning, DesiredHash: "aa"},
		{Device: "c", Class: fleet.ClassRunning},
	}, false))
	want := `deployment   web
generation   3, NOT APPLIED YET: 2 is
selects      region=north
devices      8 matched: 6 running, 2 failed, 0 pending, 0 stale
brake        hold h-1 keeps 12 deletes back in the fleet: look with 'fleet plan', let them go with 'fleet hold approve h-1'
as of        2026-03-01T12:00:00Z

DEVICES   VERDICT   WHICH             WHY
2         Failed    a, b              no image
1         Failed    z                 various other reasons
6         Running   c, d and 4 more   -

next
  Failed: see the log

the worst pairs ('fleet explain DEVICE/web' tells all of one)
DEVICE   CLASS             DESIRED   REPORTED    AT (ITS CLOCK)         ERROR
a        failed            aa        aa Failed   2026-03-01T11:00:00Z   no image
s        stale (running)   aa        -           -                      -
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPairTable_SaysWhatItLeavesOut(t *testing.T) {
	pairs := make([]fleet.PairView, worstShown+7)
	for _, wide := range []bool{false, true} {
		p := &page{}
		pairTable(p, pairs, worstShown, wide, true)
		if got := strings.Contains(text(t, p), "and 7 more"); got == wide {
			t.Errorf("wide %t: it says so: %t", wide, got)
		}
	}
}

func TestExplainArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		want topic
		err  string
	}{
		{"device pi-07", topic{device: "pi-07"}, ""},
		{"fdev/pi-07", topic{device: "pi-07"}, ""},
		{"device pi-07 web", topic{"pi-07", "web"}, ""},
		{"device/pi-07 web", topic{"pi-07", "web"}, ""},
		{"Deployments web", topic{deployment: "web"}, ""},
		{"deployment web pi-07", topic{"pi-07", "web"}, ""},
		{"pi-07/web", topic{"pi-07", "web"}, ""},
		{"", topic{}, "say what to explain"},
		{"pi-07", topic{}, `unknown kind "pi-07"`},
		{"pi-07/", topic{}, "lacks a name"},
		{"/web", topic{}, "lacks a name"},
		{"device", topic{}, "say which device"},
		{"device/", topic{}, "say which device"},
		{"pods a", topic{}, `unknown kind "pods"`},
		{"device a b c", topic{}, `got "c" too`},
	} {
		got, err := explainArguments(strings.Fields(c.args))
		if c.err == "" && (err != nil || got != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("explain %s: %+v, %v", c.args, got, err)
		}
	}
}

// explains answers as an aggregator does that has 3 Deployments, two a page, and knows no device.
func (o *operator) explains(s *rpc.Server) {
	o.t.Helper()
	err := rpc.Handle(s, fleet.DeviceVerdicts, func(_ context.Context, req fleet.DeviceVerdictsRequest) (fleet.DeviceVerdictsResponse, error) {
		resp := fleet.DeviceVerdictsResponse{Freshness: fleet.Freshness{AsOf: noon, Synced: req.After == "", Reason: "lost"}, Total: 3}
		for i := range 3 {
			name := fmt.Sprintf("web-%d", i)
			if name > req.After && len(resp.Items) < 2 {
				resp.Items = append(resp.Items, fleet.DeviceVerdict{Deployment: fleet.DeploymentName(name), Explanation: fleet.Explanation{Verdict: "NotRegistered"}})
			}
		}
		if len(resp.Items) == 2 {
			resp.Next = string(resp.Items[1].Deployment)
		}
		return resp, nil
	})
	if err == nil {
		err = rpc.Handle(s, fleet.DevicesGet, func(_ context.Context, req fleet.GetRequest) (fleet.DevicesGetResponse, error) {
			return fleet.DevicesGetResponse{}, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no device %s", req.Name)
		})
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

func TestExplain_GathersAllPages(t *testing.T) {
	o, url := startOperator(t)
	o.serve(fleet.ServiceAggregator, true, o.explains)
	code, stdout, stderr := invoke(t.Context(), "explain", "device", "nope", "-o", "json", "--nats-url", url)
	var got fleet.DeviceVerdictsResponse
	if err := json.Unmarshal([]byte(stdout), &got); code != 0 || err != nil || len(got.Items) != 3 || got.Synced || got.Reason == "" || got.Next != "" {
		t.Errorf("exit %d, %v, stderr %q, %s", code, err, stderr, stdout)
	}
	code, stdout, _ = invoke(t.Context(), "explain", "device", "nope", "--nats-url", url)
	if code != 0 || !strings.Contains(stdout, "nobody knows a device of this name") || !strings.Contains(stdout, "web-2") || !strings.Contains(stdout, "WARNING") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	code, stdout, stderr = invoke(t.Context(), "describe", "device", "nope", "--nats-url", url)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "there is no device nope") {
		t.Errorf("describe: exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}
