package main

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// fleetOf has n living devices dev-1 … that are registered from their info.
func (r *rig) fleetOf(n int) []fleet.DeviceID {
	r.t.Helper()
	ids := []fleet.DeviceID{"dev-1", "dev-2", "dev-3", "dev-4", "dev-5", "dev-6"}[:n]
	r.live(true, ids...)
	r.pump(100 * time.Millisecond)
	return ids
}

func (r *rig) registered(ids ...fleet.DeviceID) {
	r.t.Helper()
	for _, d := range ids {
		r.info(d, "north")
	}
	r.eventually("the devices are registered", func() bool {
		for _, d := range ids {
			if !r.exists(fleet.BucketResources, fleet.DeviceKey(d)) {
				return false
			}
		}
		return true
	})
}

func TestStatus_FollowsTheReports(t *testing.T) {
	r := newRig(t)
	r.acting("a1")
	ids := r.fleetOf(3)
	r.registered(ids...)
	value := r.deployment("web", 1, `{"image":"v1"}`)
	r.eventually("it is shown as being applied", func() bool {
		s := r.patcher.shown("web")
		return len(s.Conditions) > 0 && s.Conditions[0].Reason == fleet.ReasonApplying
	})

	r.desire("web", 1, value, ids...)
	r.report(ids[0], "web", fleet.PhaseRunning, value)
	r.report(ids[1], "web", fleet.PhaseFailed, value)
	r.report(ids[2], "web", fleet.PhaseRunning, []byte("an older value"))
	r.eventually("each is counted as what it is", func() bool {
		a := r.patcher.shown("web").Aggregate
		return a.MatchedDeviceCount == 3 && a.Running == 1 && a.Failed == 1 && a.Pending == 1 &&
			a.LastError != nil && a.LastError.Device == ids[1]
	})
	r.report(ids[1], "web", fleet.PhaseRunning, value)
	r.report(ids[2], "web", fleet.PhaseRunning, value)
	r.eventually("it is ready", func() bool { return ready(r.patcher.shown("web")) })

	r.remove(fleet.BucketDesiredState, "dev-1.web")
	r.eventually("the scope is what is desired", func() bool { return r.patcher.shown("web").Aggregate.MatchedDeviceCount == 2 })
}

func TestStatus_IsSentOncePerValue(t *testing.T) {
	r := newRig(t)
	r.acting("a1")
	ids := r.fleetOf(1)
	value := r.deployment("web", 1, `1`)
	r.desire("web", 1, value, ids...)
	r.report(ids[0], "web", fleet.PhaseRunning, value)
	r.eventually("it is ready", func() bool { return ready(r.patcher.shown("web")) })

	before := len(r.patcher.requests("status"))
	r.never(500*time.Millisecond, "heartbeats, the same report or the same wish again are sent", func() bool {
		r.report(ids[0], "web", fleet.PhaseRunning, value)
		r.desire("web", 1, value, ids...)
		return len(r.patcher.requests("status")) > before
	})
	r.report(ids[0], "web", fleet.PhaseFailed, value)
	r.eventually("the next value is sent", func() bool { return r.patcher.shown("web").Aggregate.Failed == 1 })
	if n := len(r.patcher.requests("status")) - before; n != 1 {
		t.Errorf("%d requests for one change", n)
	}
}

// A lost acknowledgement and a conflict are answered with the state of then, under a newer number.
func TestStatus_IsSentUntilAcknowledged(t *testing.T) {
	for name, refusal := range map[string]error{
		"the answer is lost": fleet.Errorf(fleet.CodeUnavailable, "Timeout", "lost"),
		"conflict":           fleet.Errorf(fleet.CodeConflict, "Conflict", "look again"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a := r.acting("a1")
			ids := r.fleetOf(1)
			value := r.deployment("web", 1, `1`)
			r.patcher.hook(func(string, string) error { return refusal })
			r.desire("web", 1, value, ids...)
			r.eventually("it is tried again and again", func() bool { return len(r.patcher.requests("status")) > 3 })
			r.eventually("health tells", func() bool { return a.hasReason("StatusesWait") })
			r.report(ids[0], "web", fleet.PhaseRunning, value)
			r.eventually("the present state is what is tried", func() bool { return ready(r.patcher.shown("web")) })
			r.patcher.hook(nil)
			r.eventually("it is settled", func() bool { return !a.hasReason("StatusesWait") })
			requests := r.patcher.requests("status")
			r.never(300*time.Millisecond, "sent again after the acknowledgement", func() bool {
				return len(r.patcher.requests("status")) > len(requests)+1
			})
			var seq uint64
			for _, q := range requests {
				if q.seq <= seq {
					t.Fatalf("number %d after %d", q.seq, seq)
				}
				seq = q.seq
			}
		})
	}
}

// A status is written, the answer is lost, and by then the acknowledged status is the present one again.
func TestStatus_LostAnswerAndBackAgain(t *testing.T) {
	r := newRig(t)
	r.acting("a1")
	ids := r.fleetOf(1)
	value := r.running("web", ids...)
	var once sync.Once
	r.patcher.hook(func(string, string) error {
		once.Do(func() { r.report(ids[0], "web", fleet.PhaseRunning, value) })
		time.Sleep(300 * time.Millisecond) // the report is in view before anything is sent again
		return fleet.Errorf(fleet.CodeUnavailable, rpc.ReasonTimeout, "lost")
	})
	r.report(ids[0], "web", fleet.PhaseFailed, value)
	r.eventually("the failure is shown", func() bool { return r.patcher.shown("web").Aggregate.Failed == 1 })
	r.patcher.hook(nil)
	r.eventually("it does not stay", func() bool { return ready(r.patcher.shown("web")) })
}

// The patcher remembers the number of a uid for as long as the epoch lasts, whoever forgets it meanwhile.
func TestStatus_DeploymentReturnsUnderTheSameUID(t *testing.T) {
	r := newRig(t)
	r.acting("a1")
	ids := r.fleetOf(1)
	value := r.running("web", ids...)
	for _, phase := range []fleet.Phase{fleet.PhaseFailed, fleet.PhaseRunning, fleet.PhaseFailed, fleet.PhaseRunning} {
		r.report(ids[0], "web", phase, value)
		r.eventually("it is shown", func() bool { return ready(r.patcher.shown("web")) == (phase == fleet.PhaseRunning) })
	}
	r.fenced(fleet.BucketResources, fleet.DeploymentKey("web"), fleet.MirrorDeployment{
		Tombstone: &fleet.Tombstone{UID: uidOf("web"), Cause: fleet.TombstoneVanished, At: time.Now()},
	})
	r.deployment("api", 1, `1`)
	r.eventually("the tombstone is in view", func() bool { return len(r.patcher.shown("api").Conditions) > 0 })

	refused := r.patcher.conflicts()
	r.deployment("web", 1, `1`)
	r.report(ids[0], "web", fleet.PhaseFailed, value)
	r.eventually("its status is taken", func() bool { return r.patcher.shown("web").Aggregate.Failed == 1 })
	if n := r.patcher.conflicts() - refused; n != 0 {
		t.Errorf("refused %d times before", n)
	}
}

// A Deployment that somebody else's finalizer keeps has lost its record, and for good.
func TestStatus_NothingIsWaitedForWhenTheRecordIsDeletedLast(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1")
	ids := r.fleetOf(1)
	r.registered(ids...)
	r.running("web", ids...)
	r.fenced(fleet.BucketResources, fleet.DeploymentKey("web"), fleet.MirrorDeployment{UID: uidOf("web"), Generation: 2, Deleting: true})
	r.remove(fleet.BucketDesiredState, "dev-1.web")
	r.eventually("it is shown as being deleted", func() bool {
		s := r.patcher.shown("web")
		return s.Conditions[0].Reason == fleet.ReasonDeploymentDeleted && s.Aggregate.MatchedDeviceCount == 0
	})
	r.remove(fleet.BucketDesiredState, fleet.AppliedKey("web"))
	r.never(500*time.Millisecond, "the record is waited for", func() bool { return a.hasReason("Rebuilding") || a.hasReason("StatusesWait") })
	r.eventually("it settles", func() bool { return a.health().State == fleet.StateReady })
	if s := r.patcher.shown("web"); s.ObservedGeneration != 1 {
		t.Errorf("it went back: %+v", s)
	}
}

func TestStatus_RestartWritesNothing(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1")
	ids := r.fleetOf(3)
	r.registered(ids...)
	for _, name := range []fleet.DeploymentName{"api", "web"} {
		value := r.deployment(name, 2, `{"n":1}`)
		r.desire(name, 2, value, ids...)
		for _, d := range ids {
			r.report(d, name, fleet.PhaseRunning, value)
		}
		r.eventually("it is ready", func() bool { return ready(r.patcher.shown(name)) })
	}
	r.eventually("the devices are settled", func() bool { return a.health().State == fleet.StateReady })
	before, requests := r.patcher.writes(), len(r.patcher.requests("status"))
	a.stop()

	r.acting("a2")
	r.eventually("every status is sent once", func() bool { return len(r.patcher.requests("status")) == requests+2 })
	r.never(500*time.Millisecond, "something was written", func() bool { return r.patcher.writes() > before })
}

func TestStatus_NothingIsSentWithoutAWholeMirror(t *testing.T) {
	r := newRig(t)
	r.remove(fleet.BucketResources, fleet.KeySynced)
	a := r.start("a1")
	ids := r.fleetOf(1)
	value := r.deployment("web", 1, `1`)
	r.desire("web", 1, value, ids...)
	r.info(ids[0], "north")
	r.eventually("it is ready all the same", func() bool { return a.health().Ready && a.hasReason("MirrorNotWhole") })
	r.never(500*time.Millisecond, "something was sent", func() bool { return r.patcher.writes() > 0 })
	r.serve()
	r.report(ids[0], "web", fleet.PhaseRunning, value)
	r.eventually("then it is sent", func() bool { return ready(r.patcher.shown("web")) })
}

func TestStatus_OnlyTheHolderSends(t *testing.T) {
	r := newRig(t)
	a1 := r.acting("a1")
	a2 := r.start("a2")
	ids := r.fleetOf(1)
	value := r.deployment("web", 1, `1`)
	r.desire("web", 1, value, ids...)
	r.eventually("the standby is ready", func() bool { return a2.health().Ready })
	r.eventually("one is sent", func() bool { return r.patcher.shown("web").Aggregate.Pending == 1 })
	first := r.patcher.requests("status")

	a1.stop()
	r.report(ids[0], "web", fleet.PhaseRunning, value)
	r.eventually("the other one takes over", func() bool { return ready(r.patcher.shown("web")) })
	all := r.patcher.requests("status")
	for i, q := range all {
		if old := i < len(first); old != (q.epoch == first[0].epoch) {
			t.Errorf("request %d of %d (%d before) under epoch %d, the first was under %d", i, len(all), len(first), q.epoch, first[0].epoch)
		}
	}
}

func TestStatus_EpochTakenByAnother(t *testing.T) {
	r := newRig(t)
	r.acting("a1")
	ids := r.fleetOf(1)
	value := r.deployment("web", 1, `1`)
	r.desire("web", 1, value, ids...)
	r.eventually("it is sent", func() bool { return r.patcher.shown("web").Aggregate.Pending == 1 })
	r.put(fleet.BucketLeases, fleet.KeyEpoch, []byte(`{"instance":"an intruder"}`))
	r.report(ids[0], "web", fleet.PhaseRunning, value)
	r.eventually("it is sent under a new epoch", func() bool { return ready(r.patcher.shown("web")) })
}

// One Deployment that the apiserver refuses, and that comes first, does not hold up the others.
func TestStatus_RefusalOfOneIsItsOwn(t *testing.T) {
	r := newRig(t)
	const refused, others = fleet.DeploymentName("aaa"), 30
	r.deployment(refused, 1, `1`)
	for i := range others {
		r.deployment(fleet.DeploymentName(fmt.Sprintf("web-%02d", i)), 1, `1`)
	}
	refuse := func(_, name string) error {
		if name == string(refused) {
			return fleet.Errorf(fleet.CodeUnavailable, "APIFailing", "the apiserver fails")
		}
		return nil
	}
	r.patcher.hook(refuse)
	a := r.start("a1", "--tick", "10s")
	r.eventually("the others get through", func() bool { return len(r.patcher.requests("status")) == others+1 })
	sent := map[string]int{}
	for _, q := range r.patcher.requests("status") {
		sent[q.name]++
	}
	if len(sent) != others+1 || sent[string(refused)] != 1 {
		t.Errorf("not in one tick: %v", sent)
	}
	a.stop()

	a = r.start("a2")
	r.eventually("health tells of the one", func() bool { return a.hasReason("StatusesWait") })
	r.never(300*time.Millisecond, "it counts as delivered", func() bool { s := a.health().State; return s == fleet.StateReady })
	r.patcher.hook(nil)
	a.acts()
	r.eventually("it is settled", func() bool { return a.health().State == fleet.StateReady })
}

// The apiserver was restored from a backup, and the patcher has read it anew.
func TestStatus_IsRestoredUnderTheMirrorsNextEpoch(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1")
	ids := r.fleetOf(1)
	r.registered(ids...)
	r.running("api", ids...)
	r.running("web", ids...)
	r.eventually("it settles", func() bool { return a.health().State == fleet.StateReady })
	writes := r.patcher.writes()
	r.patcher.lose("web")
	r.serve()
	r.eventually("it is written again", func() bool { return ready(r.patcher.shown("web")) })
	requests := len(r.patcher.requests("status"))
	r.never(300*time.Millisecond, "more is sent than once each, or written than what was lost", func() bool {
		return len(r.patcher.requests("status")) > requests+1 || r.patcher.writes() > writes+1
	})
}

// Somebody edited the status by hand.
func TestStatus_IsSentAgainNowAndThen(t *testing.T) {
	r := newRig(t)
	r.acting("a1", "--status-refresh", "1s")
	ids := r.fleetOf(1)
	r.registered(ids...)
	r.running("web", ids...)
	writes := r.patcher.writes()
	r.patcher.lose("web")
	r.eventually("it is written again", func() bool { return ready(r.patcher.shown("web")) })
	requests := len(r.patcher.requests("status"))
	r.eventually("it is sent further on", func() bool { return len(r.patcher.requests("status")) > requests+1 })
	if n := r.patcher.writes() - writes; n != 1 {
		t.Errorf("%d writes for one status", n)
	}
}

// Nobody is asked who is known not to answer; questions are answered all the same.
func TestStatus_NothingIsSentWithoutAPatcherThatServes(t *testing.T) {
	for name, leave := range map[string]func(r *rig){
		"nobody holds the lease": func(r *rig) { r.remove(fleet.BucketResources, fleet.KeyLease) },
		"a new holder is still reading": func(r *rig) {
			r.put(fleet.BucketResources, fleet.KeyEpoch, encode(r.t, fleet.EpochRecord{Instance: "p2"}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			leave(r)
			r.deployment("web", 1, `1`)
			a := r.start("a1")
			r.info("dev-1", "north")
			r.put(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey("dev-1"), []byte(`{}`))
			r.fenced(fleet.BucketResources, "device.dev-2", fleet.MirrorDevice{UID: "uid-2", Deleting: true})
			r.eventually("health tells", func() bool { return a.hasReason("StatusesWait") })
			sent := func() int {
				return len(r.patcher.requests("status")) + len(r.patcher.requests("device")) + len(r.patcher.requests("finalizer"))
			}
			r.never(300*time.Millisecond, "something was sent", func() bool { return sent() > 0 })
			list := ask[fleet.DevicesListRequest, fleet.DevicesListResponse](r, fleet.DevicesList, fleet.DevicesListRequest{})
			if !list.Synced || list.Total != 2 {
				t.Errorf("%+v", list)
			}
			r.serve()
			r.eventually("then everything is", func() bool {
				return len(r.patcher.requests("status")) > 0 && len(r.patcher.requests("device")) > 0 && len(r.patcher.requests("finalizer")) > 0
			})
		})
	}
}
