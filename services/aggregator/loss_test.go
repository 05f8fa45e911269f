package main

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

type natsMsg = nats.Msg

func (r *rig) deleteStream(bucket string) {
	r.t.Helper()
	js, err := r.nc.JetStream()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := js.DeleteStream(fleet.StreamName(bucket)); err != nil {
		r.t.Fatal(err)
	}
}

func TestLoss_ReportsAreRebuiltBeforeAStatusIsSent(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1", "--rebuild-for", "1h")
	ids := r.fleetOf(3)
	r.registered(ids...)
	value := r.running("web", ids...)
	writes := len(r.patcher.requests("status"))

	r.deleteStream(fleet.BucketDeviceState)
	r.eventually("the bucket is created anew", func() bool {
		h := a.health()
		for _, s := range h.Sources {
			if s.Name == fleet.BucketDeviceState {
				return h.Ready && s.Synced && s.Pass > 1
			}
		}
		return false
	})
	r.report(ids[0], "web", fleet.PhaseRunning, value)
	r.eventually("health tells that it waits", func() bool {
		h := a.health()
		return h.State == fleet.StateConverging && a.hasReason("Rebuilding")
	})
	r.report(ids[1], "web", fleet.PhaseRunning, value)
	r.never(300*time.Millisecond, "a half rebuilt status was sent", func() bool { return len(r.patcher.requests("status")) > writes })
	r.report(ids[2], "web", fleet.PhaseRunning, value)
	r.eventually("it is well again", func() bool { return a.health().State == fleet.StateReady })
	if n := len(r.patcher.requests("status")); n != writes {
		t.Errorf("%d statuses were sent although nothing changed in the end", n-writes)
	}
}

// The bucket is as old as before, and empty.
func TestLoss_PurgedReportsAreRebuiltBeforeAStatusIsSent(t *testing.T) {
	r := newRig(t)
	const rebuildFor = 8 * time.Second
	a := r.acting("a1", "--rebuild-for", rebuildFor.String())
	created := time.Now() // or before
	ids := r.fleetOf(3)
	r.registered(ids...)
	value := r.running("web", ids...)
	asked, err := r.nc.SubscribeSync(fleet.SubjectResyncAll)
	if err != nil {
		t.Fatal(err)
	}
	r.eventually("the bucket is not young", func() bool { return time.Since(created) > rebuildFor })
	writes := len(r.patcher.requests("status"))

	r.purgeStream(fleet.BucketDeviceState)
	r.report(ids[0], "web", fleet.PhaseRunning, value)
	r.eventually("health tells that it waits", func() bool { return a.hasReason("Rebuilding") })
	if _, err := asked.NextMsg(soon); err != nil {
		t.Errorf("all agents are asked: %v", err)
	}
	r.report(ids[1], "web", fleet.PhaseRunning, value)
	r.report(ids[2], "web", fleet.PhaseRunning, value)
	r.eventually("it is well again", func() bool { return a.health().State == fleet.StateReady })
	if n := len(r.patcher.requests("status")); n != writes {
		t.Errorf("%d statuses were sent although nothing changed in the end", n-writes)
	}
}

func TestLoss_DesiredStateGone(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1")
	ids := r.fleetOf(2)
	r.registered(ids...)
	value := r.running("web", ids...)
	writes := len(r.patcher.requests("status"))

	r.deleteStream(fleet.BucketDesiredState)
	r.eventually("it is noticed", func() bool { return !a.health().Ready })
	r.report(ids[0], "web", fleet.PhaseFailed, value)
	r.never(300*time.Millisecond, "a status was sent without a view of what is desired", func() bool { return len(r.patcher.requests("status")) > writes })

	if err := r.bucket(fleet.BucketDesiredState).Ensure(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is in view", func() bool { return a.health().Ready })
	r.never(300*time.Millisecond, "the empty bucket was taken for the truth", func() bool { return len(r.patcher.requests("status")) > writes })
	r.desire("web", 1, value, ids...)
	r.eventually("the status is the right one", func() bool {
		s := r.patcher.shown("web")
		return s.Aggregate.Failed == 1 && s.Aggregate.MatchedDeviceCount == 2
	})
	for _, q := range r.patcher.requests("status") {
		if q.status.ObservedGeneration < 1 && q.status.Aggregate.MatchedDeviceCount == 0 && q.seq > 2 {
			t.Errorf("a status went back: %+v", q.status)
		}
	}
}

// What was applied is forgotten while no holder is there that knows of it: the patcher remembers.
func TestLoss_DesiredStateEmptiedBeforeTheStart(t *testing.T) {
	r := newRig(t)
	begun := time.Now()
	a := r.acting("a1")
	ids := r.fleetOf(2)
	r.registered(ids...)
	value := r.running("web", ids...)
	a.stop()
	r.purgeStream(fleet.BucketDesiredState)
	const patience = 2 * time.Second
	r.eventually("desired-state is not young", func() bool { return time.Since(begun) > patience })

	a = r.start("a2", "--rebuild-for", patience.String())
	r.eventually("health tells that it waits", func() bool { return a.hasReason("Rebuilding") })
	r.deployment("api", 1, `1`)
	r.eventually("the others are unaffected", func() bool { return len(r.patcher.shown("api").Conditions) > 0 })
	r.eventually("a long wait is trouble", func() bool { return strings.Contains(a.message("StatusesWait"), "generation 1 was applied") })
	if s := r.patcher.shown("web"); !ready(s) || s.ObservedGeneration != 1 || s.Aggregate.Running != 2 {
		t.Errorf("it went back: %+v", s)
	}
	r.desire("web", 1, value, ids...)
	r.report(ids[0], "web", fleet.PhaseFailed, value)
	r.eventually("the record is back", func() bool { return r.patcher.shown("web").Aggregate.Failed == 1 })
	r.eventually("it settles", func() bool { return a.health().State == fleet.StateReady })
}

func (r *rig) purgeStream(bucket string) {
	r.t.Helper()
	js, err := r.nc.JetStream()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := js.PurgeStream(fleet.StreamName(bucket)); err != nil {
		r.t.Fatal(err)
	}
}

func TestLoss_ServerRestart(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1")
	ids := r.fleetOf(2)
	r.registered(ids...)
	value := r.running("web", ids...)
	r.nats.Restart()
	r.report(ids[0], "web", fleet.PhaseFailed, value)
	r.eventually("the report after the restart counts", func() bool { return r.patcher.shown("web").Aggregate.Failed == 1 })
	r.eventually("it is ready", func() bool { return a.health().Ready })
}

func TestPoison_ChangesNothingButItself(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1")
	ids := r.fleetOf(3)
	r.registered(ids...)
	value := r.running("web", ids...)
	writes := r.patcher.writes()

	state := func(key, value string) { r.put(fleet.BucketDeviceState, key, []byte(value)) }
	deep := strings.Repeat("[", 5000)
	state("state.dev-1.web", `{"phase":`)
	state("state.dev-2.web", `{"phase":"Future","observedHash":"x"}`)
	state("state.dev-3.web", deep)
	state("state.dev-1.web.more", `{}`)
	state("Bad", "\xff\xfe")
	r.put(fleet.BucketDeviceInfo, "info.dev-1", []byte(`{"labels":{"a b":"c"}}`))
	r.put(fleet.BucketDeviceHeartbeat, "heartbeat.dev-1", []byte(`no JSON`))
	r.write(fleet.BucketDesiredState, "UPPER.web", []byte(`{}`), nil)
	if err := r.nc.PublishRequest("$KV.device-heartbeat.heartbeat.dev-2", "$KV.device-info.info.dev-3", []byte(`{}`)); err != nil { // the answer is aimed
		t.Fatal(err)
	}
	r.write(fleet.BucketDesiredState, fleet.AppliedKey("web"), []byte(`{"uid":"uid-web","generation":9}`), nil) // foreign
	r.eventually("all of it is set aside", func() bool {
		poison := map[string]int{}
		for _, s := range a.health().Sources {
			poison[s.Name] = s.Poison
		}
		return poison[fleet.BucketDeviceState] == 5 && poison[fleet.BucketDeviceInfo] == 2 && poison[fleet.BucketDesiredState] == 2
	})
	h := a.health()
	if !h.Ready {
		t.Errorf("not ready: %+v", h.Reasons)
	}
	r.never(200*time.Millisecond, "something was written", func() bool { return r.patcher.writes() > writes })

	a.stop()
	a = r.start("a2")
	r.eventually("after a restart the record is missing, too", func() bool { return a.hasReason("StatusesWait") })
	r.desire("web", 1, value)
	r.eventually("they count as pending", func() bool {
		a := r.patcher.shown("web").Aggregate
		return a.Pending == 3 && a.MatchedDeviceCount == 3
	})
}

func TestForeign_DesiredValueIsInScopeButNeverSucceeds(t *testing.T) {
	r := newRig(t)
	r.acting("a1")
	ids := r.fleetOf(1)
	value := r.running("web", ids...)
	r.write(fleet.BucketDesiredState, "dev-1.web", value, nil)
	r.eventually("it is pending", func() bool { return r.patcher.shown("web").Aggregate.Pending == 1 })
	r.fenced(fleet.BucketDesiredState, "dev-1.web", value)
	r.eventually("it runs once the reconciler has written it", func() bool { return ready(r.patcher.shown("web")) })
}
