package picture_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// good is a round in which everybody answers and all is well.
func good() picture.Round {
	r := picture.Round{
		Link: picture.Link{Connected: true, Since: noon}, Health: map[string]picture.Answer[[]fleet.Health]{},
		Deployments: &picture.Answer[[]fleet.DeploymentView]{Fresh: fleet.Freshness{AsOf: noon, Synced: true}, Value: []fleet.DeploymentView{deployment(fleet.ConditionReady, "all run")}},
		Devices:     &picture.Answer[[]fleet.DeviceSummary]{Fresh: fleet.Freshness{AsOf: noon, Synced: true}, Value: []fleet.DeviceSummary{{Name: "pi-1"}, {Name: "pi-2"}}},
	}
	for _, s := range fleet.Services() {
		r.Health[s] = picture.Answer[[]fleet.Health]{Value: []fleet.Health{healthy(s, s+"-0", true)}}
	}
	return r
}

func healthy(service, instance string, holds bool) fleet.Health {
	return fleet.Health{
		Service: service, Instance: instance, Version: "v1", State: fleet.StateReady, Ready: true,
		Lease:   &fleet.LeaseHealth{Held: holds},
		Sources: []fleet.Source{{Name: "desired-state", Synced: true, Pass: 1, Done: 5, Total: 5}},
	}
}

func deployment(condition, message string) fleet.DeploymentView {
	return fleet.DeploymentView{Name: "web", Status: fleet.DeploymentStatus{
		Aggregate:  fleet.Aggregate{MatchedDeviceCount: 10, Running: 6, Pending: 4},
		Conditions: []fleet.Condition{{Type: condition, Status: fleet.ConditionTrue, Message: message}},
	}}
}

// change edits what one replica of a service says.
func change(r *picture.Round, service string, f func(*fleet.Health)) {
	f(&r.Health[service].Value[0])
}

func silent(r *picture.Round, service string) {
	r.Health[service] = picture.Answer[[]fleet.Health]{Err: errors.New("nobody answers")}
}

// fold folds rounds, one a second.
func fold(rounds ...picture.Round) picture.Picture {
	var p picture.Picture
	for i, r := range rounds {
		p = picture.Fold(p, r, noon.Add(time.Duration(i)*time.Second))
	}
	return p
}

func TestJudge(t *testing.T) {
	degrade := func(reason, message string) func(*fleet.Health) {
		return func(h *fleet.Health) {
			h.State, h.Reasons = fleet.StateDegraded, []fleet.Reason{{Reason: reason, Message: message}}
		}
	}
	for _, c := range []struct {
		name   string
		rounds int // that the change lasts
		change func(*picture.Round)
		want   picture.State
		says   string
	}{
		{"well", 1, func(*picture.Round) {}, picture.Well, "1 deployment, 2 devices"},
		{"no connection", 1, func(r *picture.Round) { *r = picture.Round{Link: picture.Link{Since: noon}} }, picture.Unhealthy, "No connection to NATS since 12:00:00"},
		{"one lost answer", 1, func(r *picture.Round) { silent(r, fleet.ServicePatcher) }, picture.Well, ""},
		{"silent service", 2, func(r *picture.Round) { silent(r, fleet.ServicePatcher) }, picture.Unhealthy, "fleet-patcher does not answer since 12:00:00"},
		{"apiserver away", 1, func(r *picture.Round) {
			change(r, fleet.ServicePatcher, degrade("APIServer", "the apiserver refuses"))
		}, picture.Unhealthy, "the apiserver refuses"},
		{"standby degraded", 1, func(r *picture.Round) {
			standby := healthy(fleet.ServicePatcher, "patcher-1", false)
			degrade("X", "it has no network")(&standby)
			r.Health[fleet.ServicePatcher] = picture.Answer[[]fleet.Health]{Value: append(r.Health[fleet.ServicePatcher].Value, standby)}
		}, picture.Degraded, "patcher-1"},
		{"nobody acts", 1, func(r *picture.Round) {
			change(r, fleet.ServiceReconciler, func(h *fleet.Health) { h.Lease.Held = false })
		}, picture.Degraded, "Nobody acts for fleet-reconciler"},
		{"held", 1, func(r *picture.Round) {
			change(r, fleet.ServiceReconciler, func(h *fleet.Health) {
				h.State, h.Reasons = fleet.StateHeld, []fleet.Reason{{Reason: fleet.ReasonHeld, Message: "30 deletes wait"}}
			})
		}, picture.Held, "30 deletes wait"},
		{"held beside a degradation", 1, func(r *picture.Round) {
			change(r, fleet.ServiceReconciler, func(h *fleet.Health) {
				h.State, h.Reasons = fleet.StateDegraded, []fleet.Reason{{Reason: "X", Message: "write fails"}, {Reason: fleet.ReasonHeld, Message: "30 deletes wait"}}
			})
		}, picture.Unhealthy, "write fails"},
		{"poison", 1, func(r *picture.Round) {
			change(r, fleet.ServiceAggregator, func(h *fleet.Health) {
				h.Reasons = []fleet.Reason{{Reason: fleet.ReasonSetAside, Message: "1 entry is set aside"}}
			})
		}, picture.Degraded, "1 entry is set aside"},
		{"replaying", 1, func(r *picture.Round) {
			change(r, fleet.ServiceAggregator, func(h *fleet.Health) {
				h.State, h.Ready, h.Reasons = fleet.StateReplaying, false, []fleet.Reason{{Reason: "SourceNotSynced", Message: "device-state: 1 of about 4 read"}}
				h.Sources[0].Synced, h.Sources[0].Done, h.Sources[0].Total = false, 1, 4
			})
		}, picture.Converging, "1 of about 4"},
		{"rolling out", 1, func(r *picture.Round) {
			r.Deployments.Value[0] = deployment(fleet.ConditionReconciling, "4 are pending")
		}, picture.Converging, "4 devices have not reported success yet"},
		{"failed deployment", 1, func(r *picture.Round) { r.Deployments.Value[0] = deployment(fleet.ConditionStalled, "failed on 2") }, picture.Degraded, "web: failed on 2"},
		{"mirror not whole", 1, func(r *picture.Round) {
			r.Deployments.Fresh = fleet.Freshness{Reason: "fleet-resources is being rebuilt"}
		}, picture.Converging, "being rebuilt"},
		{"questions unanswered", 1, func(r *picture.Round) {
			*r.Deployments = picture.Answer[[]fleet.DeploymentView]{Err: errors.New("timeout")}
		}, picture.Unhealthy, "Questions about Deployments are not answered"},
		{"questions unanswered, since nobody is there", 1, func(r *picture.Round) {
			silent(r, fleet.ServiceAggregator)
			*r.Deployments = picture.Answer[[]fleet.DeploymentView]{Err: errors.New("no responders")}
		}, picture.Unhealthy, "fleet-aggregator does not answer since 12:00:00"},
		{"devices are not told", 1, func(r *picture.Round) {
			*r.Devices = picture.Answer[[]fleet.DeviceSummary]{Err: errors.New("timeout")}
		}, picture.Degraded, "Questions about devices are not answered"},
		{"a few devices are stale", 1, func(r *picture.Round) { r.Devices.Value[0].State = fleet.DeviceStale }, picture.Well, "2 devices, 1 of them stale"},
		{"many devices are stale", 1, func(r *picture.Round) {
			for i := range 20 {
				r.Devices.Value = append(r.Devices.Value, fleet.DeviceSummary{Name: fleet.DeviceID(fmt.Sprint(i)), State: map[bool]fleet.DeviceState{true: fleet.DeviceStale}[i < 5]})
			}
		}, picture.Degraded, "5 of 22 devices are stale"},
		{"versions differ", 1, func(r *picture.Round) {
			change(r, fleet.ServiceAggregator, func(h *fleet.Health) { h.Version = "v2" })
		}, picture.Converging, "v1, v2"},
		{"a bucket was lost for less than a round", 1, func(r *picture.Round) {
			change(r, fleet.ServiceReconciler, func(h *fleet.Health) { h.Sources[0].Pass = 2 })
		}, picture.Converging, "desired-state was lost or reset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rounds := []picture.Round{good()}
			for range c.rounds {
				r := good()
				c.change(&r)
				rounds = append(rounds, r)
			}
			b := picture.Judge(fold(rounds...))
			if b.State != c.want || !strings.Contains(b.Sentence, c.says) {
				t.Errorf("%s: %s, want %s: %s", b.State, b.Sentence, c.want, c.says)
			}
			if (b.State == picture.Well) != (len(b.Problems) == 0) {
				t.Errorf("%d problems", len(b.Problems))
			}
		})
	}
}

func TestJudge_NothingHeardYet(t *testing.T) {
	if b := picture.Judge(picture.Picture{Link: picture.Link{Connected: true}}); b.State != picture.Unknown {
		t.Errorf("%+v", b)
	}
	never := picture.Round{Link: picture.Link{Connected: true}, Health: map[string]picture.Answer[[]fleet.Health]{}}
	for _, s := range fleet.Services() {
		silent(&never, s)
	}
	if b := picture.Judge(fold(never, never)); b.State != picture.Unhealthy || !strings.Contains(b.Sentence, "does not answer") {
		t.Errorf("%+v", b)
	}
}

func TestJudge_ProgressIsOfWhatConverges(t *testing.T) {
	r := good()
	r.Deployments.Value[0] = deployment(fleet.ConditionReconciling, "4 are pending")
	if b := picture.Judge(fold(r)); b.Progress == nil || *b.Progress != (picture.Progress{Done: 6, Total: 10}) {
		t.Errorf("%+v", b.Progress)
	}
	change(&r, fleet.ServiceAggregator, func(h *fleet.Health) {
		h.State, h.Sources[0] = fleet.StateReplaying, fleet.Source{Name: "device-state", Pass: 1, Done: 30, Total: 40}
	})
	if b := picture.Judge(fold(r)); b.Progress == nil || *b.Progress != (picture.Progress{Done: 30, Total: 40}) {
		t.Errorf("%+v", b.Progress)
	}
}

func TestFold_IsAsOfTheLastTimeThatAnybodyWasAsked(t *testing.T) {
	if p := fold(good(), picture.Round{Link: picture.Link{Since: noon}}); p.At != noon {
		t.Errorf("as of %s", p.At)
	}
}

func TestFold_KeepsTheLastAnswerAndSaysThatItIsOld(t *testing.T) {
	bad := good()
	bad.Devices = &picture.Answer[[]fleet.DeviceSummary]{Err: errors.New("timeout")}
	unasked := good()
	unasked.Devices = nil
	p := fold(good(), bad, bad, unasked)
	if !p.Devices.Old() || len(p.Devices.Value) != 2 || p.Devices.ErrSince != noon.Add(time.Second) || p.Devices.Got != noon {
		t.Errorf("%+v", p.Devices)
	}
	if p = picture.Fold(p, good(), noon.Add(time.Minute)); p.Devices.Old() {
		t.Errorf("%+v", p.Devices)
	}
}

func TestRevived(t *testing.T) {
	away, unconnected := good(), picture.Round{Link: picture.Link{Since: noon}}
	silent(&away, fleet.ServiceAggregator)
	well, lost, cut := fold(good()), fold(good(), away), fold(good(), unconnected)
	for name, c := range map[string]struct {
		was, is picture.Picture
		want    bool
	}{
		"nothing changes": {well, well, false}, "falls silent": {well, lost, false}, "answers again": {lost, well, true},
		"is cut off": {well, cut, false}, "is connected again": {cut, well, true}, "the first round": {picture.Picture{}, well, false},
	} {
		if got := picture.Revived(c.was, c.is); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestFold_SilentReplicaIsShownForAWhile(t *testing.T) {
	two := good()
	two.Health[fleet.ServicePatcher] = picture.Answer[[]fleet.Health]{Value: []fleet.Health{
		healthy(fleet.ServicePatcher, "a", true), healthy(fleet.ServicePatcher, "b", false),
	}}
	one := good()
	one.Health[fleet.ServicePatcher] = picture.Answer[[]fleet.Health]{Value: []fleet.Health{healthy(fleet.ServicePatcher, "a", true)}}
	p := fold(two, one)
	if b := picture.Judge(p); b.State != picture.Well {
		t.Errorf("after one lost answer: %+v", b)
	}
	p = picture.Fold(p, one, noon.Add(2*time.Second))
	if b := picture.Judge(p); b.State != picture.Degraded || !strings.Contains(b.Sentence, "fleet-patcher (b) does not answer") {
		t.Errorf("%+v", b)
	}
	if p = picture.Fold(p, one, noon.Add(2*time.Minute)); len(p.Services[0].Replicas) != 1 {
		t.Errorf("it is still shown: %+v", p.Services[0])
	}

	// One that said that it ends is gone when it is silent.
	ending := good()
	change(&ending, fleet.ServicePatcher, func(h *fleet.Health) {
		h.Instance, h.State, h.Reasons = "old", fleet.StateDegraded, []fleet.Reason{{Reason: "Stopping", Message: "it was told to"}}
	})
	if p = fold(ending, one, one); len(p.Services[0].Replicas) != 1 {
		t.Errorf("%+v", p.Services[0])
	}
}

func TestFold_IncidentsAreToldForAWhile(t *testing.T) {
	second := good()
	change(&second, fleet.ServiceReconciler, func(h *fleet.Health) { h.Sources[0].Pass = 2 })
	p := fold(good(), second, second)
	if len(p.Incidents) != 1 || !strings.Contains(p.Incidents[0].Text, "desired-state was lost") {
		t.Fatalf("%+v", p.Incidents)
	}
	if p = picture.Fold(p, second, noon.Add(time.Minute)); len(p.Incidents) != 0 {
		t.Errorf("%+v", p.Incidents)
	}
	restarted := good()
	change(&restarted, fleet.ServiceReconciler, func(h *fleet.Health) { h.StartedAt, h.Sources[0].Pass = noon, 3 })
	if p = fold(second, restarted); len(p.Incidents) != 0 {
		t.Errorf("a restart is no lost source: %+v", p.Incidents)
	}
}

func TestFold_ANewEpochIsAnIncident(t *testing.T) {
	epoch := func(n uint64) picture.Round {
		r := good()
		change(&r, fleet.ServiceAggregator, func(h *fleet.Health) { h.Lease.Epoch = n })
		return r
	}
	if p := fold(epoch(7), epoch(9)); len(p.Incidents) != 1 || !strings.Contains(p.Incidents[0].Text, "new epoch") {
		t.Errorf("%+v", p.Incidents)
	}
	if p := fold(epoch(0), epoch(9)); len(p.Incidents) != 0 {
		t.Errorf("a takeover is none: %+v", p.Incidents)
	}
}

func BenchmarkFold(b *testing.B) {
	r := good()
	for i := range 10_000 {
		r.Devices.Value = append(r.Devices.Value, fleet.DeviceSummary{Name: fleet.DeviceID(fmt.Sprintf("pi-%05d", i))})
	}
	p := fold(r)
	for b.Loop() {
		p = picture.Fold(p, r, noon)
		picture.Judge(p)
	}
}
