package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
)

func TestDevice_IsRegisteredFromItsInfo(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1")
	ids := r.fleetOf(2)
	r.info(ids[0], "north")
	r.eventually("it is registered", func() bool { return len(r.patcher.requests("device")) > 0 })
	got := r.patcher.requests("device")[0].device
	if got.Device != ids[0] || got.UID != "" || got.Labels["region"] != "north" || got.Status.Inventory["model"] != "pi" || got.Status.AgentVersion != "1" {
		t.Errorf("%+v", got)
	}
	r.info(ids[0], "south")
	r.eventually("its labels follow", func() bool {
		last := r.patcher.requests("device")
		return last[len(last)-1].device.Labels["region"] == "south"
	})
	r.eventually("it settles", func() bool { return a.health().State == fleet.StateReady })
	n := len(r.patcher.requests("device"))
	r.never(500*time.Millisecond, "heartbeats and equal infos are written, or a device without info", func() bool {
		r.info(ids[0], "south")
		return len(r.patcher.requests("device")) > n
	})
}

func TestDevice_OldInfoBringsNobodyBack(t *testing.T) {
	r := newRig(t)
	r.acting("a1")
	r.info("dev-1", "north")
	r.eventually("it is registered", func() bool { return len(r.patcher.requests("device")) == 1 })

	r.fenced(fleet.BucketResources, "device.dev-1", fleet.MirrorDevice{Tombstone: &fleet.Tombstone{UID: "x", Cause: fleet.TombstoneDeleted}})
	r.eventually("its info goes", func() bool { return !r.exists(fleet.BucketDeviceInfo, "info.dev-1") })
	if n := len(r.patcher.requests("device")); n != 1 {
		t.Fatalf("registered again by old info: %d requests", n)
	}
	r.info("dev-1", "north")
	r.eventually("new info registers it again", func() bool { return len(r.patcher.requests("device")) == 2 })
	r.never(300*time.Millisecond, "the new info is taken for garbage", func() bool { return !r.exists(fleet.BucketDeviceInfo, "info.dev-1") })
}

func TestDevice_LeavesOnlyAfterItsKeysAreGone(t *testing.T) {
	r := newRig(t)
	r.acting("a1")
	value := r.deployment("web", 1, `1`)
	r.desire("web", 1, value, "dev-1", "dev-2")
	for _, d := range []fleet.DeviceID{"dev-1", "dev-2"} {
		r.info(d, "north")
		r.report(d, "web", fleet.PhaseRunning, value)
		r.put(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey(d), []byte(`{}`))
	}
	r.eventually("they are registered", func() bool { return len(r.patcher.requests("device")) == 2 })

	r.fenced(fleet.BucketDesiredState, fleet.KeyHold, fleet.Hold{ID: "h1"})
	r.fenced(fleet.BucketResources, "device.dev-1", fleet.MirrorDevice{UID: "uid-1", Deleting: true})
	keys := func(d fleet.DeviceID) int {
		n := 0
		for bucket, key := range map[string]string{
			fleet.BucketDeviceInfo: fleet.InfoKey(d), fleet.BucketDeviceState: "state." + string(d) + ".web", fleet.BucketDeviceHeartbeat: fleet.HeartbeatKey(d),
		} {
			if r.exists(bucket, key) {
				n++
			}
		}
		return n
	}
	leaving := func() bool { return keys("dev-1") < 3 || len(r.patcher.requests("finalizer")) > 0 }
	r.never(300*time.Millisecond, "it leaves although it is desired on", leaving)
	r.remove(fleet.BucketDesiredState, "dev-1.web")
	r.never(300*time.Millisecond, "it leaves although the brake holds", leaving)
	r.remove(fleet.BucketDesiredState, fleet.KeyHold)

	r.eventually("it is let go", func() bool { return len(r.patcher.requests("finalizer")) > 0 })
	if n := keys("dev-1"); n != 0 {
		t.Errorf("%d of its keys were there when it was let go", n)
	}
	r.patcher.mu.Lock()
	released := slices.Clone(r.patcher.released)
	r.patcher.mu.Unlock()
	if released[0] != "Device dev-1 uid-1 "+fleet.FinalizerDeviceData {
		t.Errorf("released %q", released)
	}
	r.eventually("it is asked for again", func() bool { return len(r.patcher.requests("finalizer")) > 1 })
	if n := keys("dev-2"); n != 3 {
		t.Errorf("the other device has %d keys left", n)
	}
	if n := len(r.patcher.requests("device")); n != 2 {
		t.Errorf("%d requests for devices", n)
	}
}

func TestDevice_OrphansGoAfterTheirTime(t *testing.T) {
	r := newRig(t)
	r.acting("a1", "--orphan-after", "400ms")
	ids := r.fleetOf(1)
	r.registered(ids...)
	value := r.deployment("web", 1, `1`)
	r.desire("web", 1, value, ids...)
	r.report(ids[0], "web", fleet.PhaseRunning, value)
	r.report(ids[0], "api", fleet.PhaseRunning, value)
	r.never(200*time.Millisecond, "an orphan went before its time", func() bool { return !r.exists(fleet.BucketDeviceState, "state.dev-1.api") })
	r.eventually("the orphan goes", func() bool { return !r.exists(fleet.BucketDeviceState, "state.dev-1.api") })
	if !r.exists(fleet.BucketDeviceState, "state.dev-1.web") || !r.exists(fleet.BucketDeviceInfo, "info.dev-1") {
		t.Error("more than the orphan went")
	}
}

func TestDevice_IsAskedForWhatIsMissing(t *testing.T) {
	r := newRig(t)
	asked := make(chan string, 1000)
	for _, subject := range []string{fleet.SubjectResyncAll, fleet.SubjectResyncAll + ".*"} {
		sub, err := r.nc.Subscribe(subject, func(m *natsMsg) { asked <- m.Subject })
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	r.acting("a1", "--heartbeat-interval", "1s", "--stale-after", "60s")
	next := func() string {
		select {
		case s := <-asked:
			return s
		case <-time.After(soon):
			return "nothing"
		}
	}
	r.never(300*time.Millisecond, "asked although nothing is missing in the new buckets", func() bool { return len(asked) > 0 })
	ids := r.fleetOf(2)
	if got := next(); got != fleet.SubjectResyncAll {
		t.Errorf("the buckets are new and the devices have no info, asked %s", got)
	}
	r.registered(ids[1])
	times := 0
	r.eventually("the one without info is asked again and again", func() bool {
		if next() == fleet.ResyncSubject(ids[0]) {
			times++
		}
		return times == 3
	})
	r.registered(ids[0])
	value := r.deployment("web", 1, `1`)
	r.desire("web", 1, value, ids[1])
	r.eventually("the one without a report is asked", func() bool { return next() == fleet.ResyncSubject(ids[1]) })
	r.report(ids[1], "web", fleet.PhasePending, value)
	for len(asked) > 0 {
		<-asked
	}
	r.never(time.Second, "asked although nothing is missing", func() bool { return len(asked) > 1 })

	r.deleteStream(fleet.BucketDeviceState)
	r.eventually("all are asked when a bucket was lost", func() bool { return next() == fleet.SubjectResyncAll })
}

func TestDevice_RefusalIsShown(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1")
	r.patcher.reject(func(endpoint, name string) error {
		if endpoint == "device" && name != "dev-3" {
			return fleet.Errorf(fleet.CodeInternal, "Refused", "a webhook does not want %s", name)
		}
		return nil
	})
	for _, d := range r.fleetOf(3) {
		r.info(d, "north")
	}
	r.eventually("health tells of both and why", func() bool {
		text := a.message("DevicesWait")
		return strings.HasPrefix(text, "2 devices") && strings.Contains(text, "a webhook does not want dev-")
	})
	r.eventually("the other one gets through", func() bool { return r.exists(fleet.BucketResources, fleet.DeviceKey("dev-3")) })
	for range 10 {
		if h := a.health(); h.State != fleet.StateDegraded || !h.Ready {
			t.Fatalf("between two tries: %s, %+v", h.State, h.Reasons)
		}
	}
	r.patcher.reject(nil)
	r.eventually("all are written", func() bool { return !a.hasReason("DevicesWait") })
}
