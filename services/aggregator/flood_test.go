package main

import (
	"fmt"
	"testing"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// One device reports on more deployments than it can have. What is too much is set aside, and not in the way
// of what becomes desired later.
func TestFlood_InventedReportsAreSetAside(t *testing.T) {
	r := newRig(t)
	a := r.acting("a1", "--heartbeat-interval", "1s", "--stale-after", "60s")
	ids := r.fleetOf(2)
	r.registered(ids...)
	const extra = 20
	for i := range projection.MaxUnclaimed + extra - 1 {
		r.report(ids[0], fleet.DeploymentName(fmt.Sprintf("x-%d", i)), fleet.PhasePending, nil)
	}
	value := r.deployment("web", 1, `1`)
	for _, id := range ids {
		r.report(id, "web", fleet.PhaseRunning, value)
	}
	aside := func(n int) func() bool {
		return func() bool {
			for _, s := range a.health().Sources {
				if s.Name == fleet.BucketDeviceState {
					return s.Poison == n
				}
			}
			return false
		}
	}
	r.eventually("what is too much is set aside", aside(extra))

	asked := make(chan struct{}, 1000)
	sub, err := r.nc.Subscribe(fleet.ResyncSubject(ids[0]), func(*natsMsg) { asked <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	r.desire("web", 1, value, ids...)
	r.eventually("the other device's report counts", func() bool {
		s := r.patcher.shown("web").Aggregate
		return s.Running == 1 && s.Pending == 1
	})
	r.eventually("the device is asked", func() bool { return len(asked) > 0 })
	r.report(ids[0], "web", fleet.PhaseRunning, value)
	r.eventually("its report counts", func() bool { return ready(r.patcher.shown("web")) })
	r.eventually("and is not aside any more", aside(extra-1))

	r.remove(fleet.BucketDesiredState, string(ids[0])+".web")
	r.fenced(fleet.BucketResources, fleet.DeviceKey(ids[0]), fleet.MirrorDevice{UID: "uid-dev-1-1", Deleting: true})
	r.live(false, ids[0])
	r.eventually("it leaves", func() bool { return len(r.patcher.requests("finalizer")) > 0 })
	for _, i := range []int{0, projection.MaxUnclaimed - 1, projection.MaxUnclaimed + extra - 2} {
		if key := fmt.Sprintf("state.dev-1.x-%d", i); r.exists(fleet.BucketDeviceState, key) {
			t.Errorf("%s is there after the finalizer was released", key)
		}
	}
	r.eventually("nothing is aside", aside(0))
}
