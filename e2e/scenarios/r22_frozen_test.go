package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// Fault:   three Devices vanish without deletion, too few for the brake to hold; before the mirror has been quiet for long
// enough the reconciler is frozen (SIGSTOP), and goes on (SIGCONT) when the time is over and the devices are there again.
// Promise: the time in which it did not look was no quiet: it does not delete what has come back meanwhile.
// Budget:  all as before within 30 s of when it goes on.
// Found:   the deletes were due when the process went on, and written before it had read that the devices are back.
func TestR22_FrozenInTheQuiet(t *testing.T) {
	t.Parallel()
	blindInTheQuiet(t, 10*time.Second, 5*time.Second, func(reconciler *lab.Instance) fault.Fault { return fault.Pause{reconciler} })
}

// Fault:   three Devices vanish without deletion, too few for the brake to hold; before the mirror has been quiet for long
// enough nothing that NATS sends reaches the reconciler any more, while NATS gets what it sends, until the time is over
// and the devices are there again.
// Promise: the time in which it could not look was no quiet: it does not delete what has come back meanwhile.
// Budget:  all as before within 30 s of when it is reached again.
// Found:   a process that was frozen for too short a time to see that it was, or that was not reached, deleted all the
// same: nobody had asked how far the mirror is.
func TestR22_UnreachedInTheQuiet(t *testing.T) {
	t.Parallel()
	// Longer, and the reconciler sees that it is not reached.
	blindInTheQuiet(t, 2*time.Second, 300*time.Millisecond, func(reconciler *lab.Instance) fault.Fault { return fault.NewStall(0, reconciler) })
}

// blindInTheQuiet has a reconciler that waits for a quiet mirror not see that what vanished is back, until some time
// after the quiet would be over.
func blindInTheQuiet(t *testing.T, quiet, over time.Duration, blindness func(*lab.Instance) fault.Fault) {
	t.Helper()
	s := lab.New(t, lab.Options{})
	s.Start(fleet.ServicePatcher)
	aggregator := s.Start(fleet.ServiceAggregator, quickAggregator...)
	reconciler := s.Start(fleet.ServiceReconciler, "--brake-quiet", quiet.String(), "--brake-max-wait", quiet.String(), "--lease-ttl", "10s")
	s.StartDevices(12, quickDevices...)
	s.WaitReady(3)
	registered(t, s, 12)
	s.API.Apply(deployment("web", fleet.Selector{}))
	settled(t, s, "web", counts(12, 12, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest()

	names := []string{"dev-0001", "dev-0002", "dev-0003"}
	paused := fault.Pause{aggregator} // which would register devices again at a time of its own
	fault.Inject(s, paused)
	fault.Inject(s, fault.Vanish{Kind: fleet.KindDevice, Names: names})
	vanished := time.Now()
	s.Eventually(quiet*3/4, "the deletes to wait", func(ctx context.Context) error {
		p, err := rpc.Call[fleet.PlanShowRequest, fleet.PlanShowResponse](ctx, s.Conn(), fleet.PlanShow, fleet.PlanShowRequest{})
		if err == nil && p.WaitCount != len(names) {
			err = fmt.Errorf("the plan is %+v", p)
		}
		return err
	})
	blind := blindness(reconciler)
	fault.Inject(s, blind)
	for _, name := range names {
		s.API.CreateDevice(name, nil)
	}
	s.Eventually(quiet, "the Devices in the mirror again", func(ctx context.Context) error {
		keys, err := s.NATS.Keys(ctx, fleet.BucketResources)
		for _, name := range names {
			if value := keys["device."+name].Value; err == nil && (value == "" || strings.Contains(value, "tombstone")) {
				err = fmt.Errorf("%s is %q", name, value)
			}
		}
		return err
	})
	if late := time.Since(vanished) - quiet; late > 0 {
		t.Fatalf("the Devices were back %s after the quiet was over", late)
	}
	time.Sleep(time.Until(vanished.Add(quiet + over))) // the time that it is blind
	fault.Heal(s, blind)
	fault.Heal(s, paused)
	healed := time.Now()
	s.WaitReady(3)
	settled(t, s, "web", counts(12, 12, 0, 0, 0), fleet.ConditionTrue)
	s.Measured("all as before", time.Since(healed), 30*time.Second)
	now := s.AtRest()
	if d := lab.Changed("", before.Keys[fleet.BucketDesiredState], now.Keys[fleet.BucketDesiredState]); len(d) > 0 {
		t.Errorf("desired state was written: %q", d)
	}
	if d := lab.Changed("", values(before.Keys[fleet.BucketDeviceState]), values(now.Keys[fleet.BucketDeviceState])); len(d) > 0 {
		t.Errorf("devices stopped or started something: %q", d)
	}
}
