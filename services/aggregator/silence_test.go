package main

import (
	"testing"
	"time"

	"harmony.dev/fleet"
)

func patience(interval, stale, silence string) []string {
	return []string{"--heartbeat-interval", interval, "--stale-after", stale, "--silence-after", silence}
}

// running brings a Deployment up on these devices.
func (r *rig) running(name fleet.DeploymentName, ids ...fleet.DeviceID) []byte {
	r.t.Helper()
	value := r.deployment(name, 1, `1`)
	r.desire(name, 1, value, ids...)
	for _, d := range ids {
		r.report(d, name, fleet.PhaseRunning, value)
	}
	r.eventually("it is ready", func() bool {
		s := r.patcher.shown(name)
		return ready(s) && s.Aggregate.Running == len(ids)
	})
	return value
}

// recorded returns what the last request said of a device's state.
func (p *patcher) recorded(d fleet.DeviceID) fleet.DeviceState {
	all := p.requests("device")
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].device.Device == d {
			return all[i].device.Status.State
		}
	}
	return ""
}

func TestSilence_OneDevice(t *testing.T) {
	r := newRig(t)
	flags := patience("500ms", "1500ms", "1h")
	a := r.acting("a1", flags...)
	ids := r.fleetOf(6)
	r.registered(ids...)
	r.running("web", ids...)

	r.live(false, "dev-1")
	r.eventually("its pair is stale, its last phase kept", func() bool {
		a := r.patcher.shown("web").Aggregate
		return a.Stale == 1 && a.StaleLastKnown.Running == 1 && a.Running == 5
	})
	if !ready(r.patcher.shown("web")) {
		t.Error("a silent device that ran it makes it not ready")
	}
	r.eventually("its resource says so", func() bool { return r.patcher.recorded("dev-1") == fleet.DeviceStale })

	// While nobody looks, another one falls silent; it is stale at once after the start.
	a.stop()
	r.live(false, "dev-2")
	silentSince := time.Now()
	r.eventually("the threshold passes on the server's stamps", func() bool { return time.Since(silentSince) > 2*time.Second })
	requests := len(r.patcher.requests("status"))
	r.acting("a2", flags...)
	r.eventually("it is stale too", func() bool { return r.patcher.shown("web").Aggregate.Stale == 2 })
	for _, q := range r.patcher.requests("status")[requests:] {
		if q.status.Aggregate.Running > 4 {
			t.Errorf("silently running after the start: %+v", q.status.Aggregate)
		}
	}
	r.live(true, "dev-1", "dev-2")
	r.eventually("they are back", func() bool { return r.patcher.shown("web").Aggregate.Running == 6 })
	r.eventually("their resources say so", func() bool {
		return r.patcher.recorded("dev-1") == fleet.DeviceFresh && r.patcher.recorded("dev-2") == fleet.DeviceFresh
	})
	for _, q := range r.patcher.requests("device") {
		if n := q.name; n != "dev-1" && n != "dev-2" && q.device.Status.State == fleet.DeviceStale {
			t.Errorf("%s was called stale", n)
		}
	}
}

func TestSilence_OfTheWholeFleetIsOneIncident(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1", patience("500ms", "1500ms", "5s")...)
	ids := r.fleetOf(6)
	r.registered(ids...)
	r.running("api", ids...)
	r.running("web", ids...)
	r.eventually("it settles", func() bool { return a.health().State == fleet.StateReady })

	r.live(false, ids...)
	statuses, devices := len(r.patcher.requests("status")), len(r.patcher.requests("device"))
	r.never(3*time.Second, "something was written in the grace", func() bool {
		return len(r.patcher.requests("status")) > statuses || len(r.patcher.requests("device")) > devices
	})
	r.eventually("health shows it", func() bool { return a.hasReason(fleet.ReasonHeartbeatsSilent) })
	r.eventually("each Deployment shows it", func() bool {
		for _, name := range []fleet.DeploymentName{"api", "web"} {
			s := r.patcher.shown(name)
			if s.Aggregate.Stale != 6 || s.Conditions[0].Reason != fleet.ReasonHeartbeatsSilent {
				return false
			}
		}
		return true
	})
	r.never(500*time.Millisecond, "more was written", func() bool {
		return len(r.patcher.requests("status")) > statuses+2 || len(r.patcher.requests("device")) > devices
	})
	r.live(true, ids[0])
	r.eventually("one is back", func() bool { return r.patcher.shown("web").Aggregate.Running == 1 })
	r.never(500*time.Millisecond, "a device was written", func() bool { return len(r.patcher.requests("device")) > devices })
	r.live(true, ids[1:5]...)
	r.eventually("all but one are back", func() bool {
		s := r.patcher.shown("web")
		return s.Aggregate.Running == 5 && s.Conditions[0].Reason == fleet.ReasonAllRunning
	})
	r.eventually("who stays away is stale", func() bool { return r.patcher.recorded(ids[5]) == fleet.DeviceStale })
	if got := len(r.patcher.requests("device")) - devices; got != 1 {
		t.Errorf("%d writes of devices, want that of the one that stays away", got)
	}
	r.live(true, ids[5])
	r.eventually("it is back", func() bool { return r.patcher.shown("web").Aggregate.Running == 6 })
	r.eventually("health is well", func() bool { return !a.hasReason(fleet.ReasonHeartbeatsSilent) })
}

// Everything was down for longer than the threshold, and at the first look only some devices are back.
func TestSilence_ThatEndedWhileNobodyLooked(t *testing.T) {
	r := newRig(t)
	flags := patience("100ms", "1500ms", "1h") // as often as the devices do: how much they stored is counted
	a := r.acting("a1", flags...)
	ids := r.fleetOf(6)
	r.registered(ids...)
	r.running("web", ids...)
	r.eventually("it settles", func() bool { return a.health().State == fleet.StateReady })
	a.stop()
	r.live(false, ids...)
	silentSince := time.Now()
	r.eventually("the threshold passes on the server's stamps", func() bool { return time.Since(silentSince) > 3*time.Second })
	writes := r.patcher.writes()

	r.live(true, ids[:2]...)
	r.eventually("two are back", func() bool {
		return r.beatSince(ids[0], silentSince.Add(time.Second)) && r.beatSince(ids[1], silentSince.Add(time.Second))
	})
	r.start("a2", flags...)
	r.never(time.Second, "the others were taken for dead", func() bool { return r.patcher.writes() > writes })
	r.live(true, ids...)
	r.never(2*time.Second, "something was written although all are back", func() bool { return r.patcher.writes() > writes })
}

// beatSince reports whether the last heartbeat of a device was stored after a time.
func (r *rig) beatSince(d fleet.DeviceID, after time.Time) bool {
	js, err := r.nc.JetStream()
	if err != nil {
		return false
	}
	b, err := js.KeyValue(fleet.BucketDeviceHeartbeat)
	if err != nil {
		return false
	}
	e, err := b.Get(fleet.HeartbeatKey(d))
	return err == nil && e.Created().After(after)
}

// The clock of the aggregator's host is wrong, and nobody notices.
func TestSilence_OwnClockIsWrong(t *testing.T) {
	for _, skew := range []time.Duration{-5 * time.Minute, time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			r := newRig(t)
			a := r.startAt(func() time.Time { return time.Now().Add(skew) }, "a1", patience("500ms", "1500ms", "1h")...)
			a.acts()
			ids := r.fleetOf(6)
			r.registered(ids...)
			r.running("web", ids...)
			r.live(false, "dev-1")
			r.eventually("the device that died is stale", func() bool { return r.patcher.shown("web").Aggregate.Stale == 1 })
			r.eventually("its resource says so", func() bool { return r.patcher.recorded("dev-1") == fleet.DeviceStale })
			for _, q := range r.patcher.requests("device") {
				if q.name != "dev-1" && q.device.Status.State == fleet.DeviceStale {
					t.Errorf("%s was called stale", q.name)
				}
			}
		})
	}
}
