package main

import (
	"strings"
	"testing"

	"harmony.dev/fleet"
)

func row(name string, cells ...string) item {
	return item{name: name, row: append([]string{name}, cells...)}
}

func names(items []item) string {
	var out []string
	for _, it := range items {
		out = append(out, strings.Join(it.row, ":"))
	}
	return strings.Join(out, " ")
}

func TestWatch_ShowsOnlyWhatDiffers(t *testing.T) {
	list := listing{header: []string{"NAME", "N", "LAST SEEN", "LABELS"}, narrow: 3, moving: []string{"LAST SEEN"}}
	narrow := &watcher{format: formatTable, list: list, known: map[string]item{}}
	wide := &watcher{format: formatWide, list: list, known: map[string]item{}}
	for _, step := range []struct {
		items        []item
		narrow, wide string
	}{
		{[]item{row("a", "1", "3s ago", "x=1"), row("b", "1", "never", "")}, "a:1:3s ago:x=1 b:1:never:", "a:1:3s ago:x=1 b:1:never:"},
		{[]item{row("a", "1", "4s ago", "x=1"), row("b", "1", "never", "")}, "", ""},
		{[]item{row("a", "1", "5s ago", "x=2"), row("b", "1", "never", "")}, "", "a:1:5s ago:x=2"},
		{[]item{row("a", "2", "5s ago", "x=2"), row("b", "1", "never", "")}, "a:2:5s ago:x=2", "a:2:5s ago:x=2"},
		{[]item{row("b", "1", "never", "")}, "a:<gone>::", "a:<gone>::"},
		{[]item{row("a", "1", "1s ago", "x=2"), row("b", "1", "never", "")}, "a:1:1s ago:x=2", "a:1:1s ago:x=2"},
	} {
		if got := names(narrow.changed(step.items)); got != step.narrow {
			t.Errorf("a table shows %q, want %q", got, step.narrow)
		}
		if got := names(wide.changed(step.items)); got != step.wide {
			t.Errorf("a wide table shows %q, want %q", got, step.wide)
		}
	}
}

func TestWatch_OfTheStatusNamesTheReplicaThatIsGone(t *testing.T) {
	w := &watcher{format: formatTable, list: statusListing(), known: map[string]item{}}
	one := serviceStatus{Service: fleet.ServicePatcher, Replicas: []fleet.Health{{Service: fleet.ServicePatcher, Instance: "p-1", State: fleet.StateReady}}}
	w.changed(replicaItems(one))
	one.Replicas = nil
	got := names(w.changed(replicaItems(one)))
	if !strings.HasPrefix(got, "fleet-patcher:-:silent:false:") || !strings.Contains(got, "fleet-patcher:p-1:<gone>:") {
		t.Errorf("shows %q", got)
	}
}

func TestNewsDesk_TellsWhatIsWrongOnceAndThatItIsOver(t *testing.T) {
	replica := func(service string, change func(*fleet.Health)) serviceStatus {
		h := fleet.Health{Service: service, Instance: service + "-1", State: fleet.StateReady, Ready: true}
		if change != nil {
			change(&h)
		}
		return serviceStatus{Service: service, Replicas: []fleet.Health{h}}
	}
	degraded := func(h *fleet.Health) {
		h.State, h.Reasons = fleet.StateDegraded, []fleet.Reason{{Reason: "X", Message: "lost\x1b[31m"}}
	}
	d := &newsDesk{}
	for i, step := range []struct {
		services []serviceStatus
		want     string
	}{
		{[]serviceStatus{replica("a", nil)}, ""},
		{[]serviceStatus{replica("a", degraded)}, "a (a-1): X: lost [31m"},
		{[]serviceStatus{replica("a", degraded)}, ""},
		{[]serviceStatus{replica("a", degraded), {Service: "b"}}, "b does not answer: is it running, and connected to the same NATS account?"},
		{[]serviceStatus{replica("a", nil), replica("b", func(h *fleet.Health) { h.State, h.Ready = fleet.StateReplaying, false })}, "b-1 is replaying"},
		{[]serviceStatus{replica("a", nil), replica("b", nil)}, "all services are ready: a-1, b-1"},
		{[]serviceStatus{replica("a", nil), replica("b", func(h *fleet.Health) { h.State = fleet.StateConverging })}, ""}, // as with each change
		{[]serviceStatus{replica("a", nil), replica("b", nil)}, ""},
	} {
		if got := strings.Join(d.since(step.services), "|"); got != step.want {
			t.Errorf("step %d tells %q, want %q", i, got, step.want)
		}
	}
}
