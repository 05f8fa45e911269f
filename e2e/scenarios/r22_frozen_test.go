package scenarios

import (
	"context"
	"fmt"
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
	const quiet = 10 * time.Second
	s := lab.New(t, lab.Options{})
	s.Start(fleet.ServicePatcher)
	s.Start(fleet.ServiceAggregator, quickAggregator...)
	reconciler := s.Start(fleet.ServiceReconciler, "--brake-quiet", quiet.String(), "--brake-max-wait", quiet.String())
	s.StartDevices(12, quickDevices...)
	s.WaitReady(3)
	registered(t, s, 12)
	s.API.Apply(deployment("web", fleet.Selector{}))
	settled(t, s, "web", counts(12, 12, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest()

	names := []string{"dev-0001", "dev-0002", "dev-0003"}
	fault.Inject(s, fault.Vanish{Kind: fleet.KindDevice, Names: names})
	vanished := time.Now()
	s.Eventually(quiet/2, "the deletes to wait", func(ctx context.Context) error {
		p, err := rpc.Call[fleet.PlanShowRequest, fleet.PlanShowResponse](ctx, s.Conn(), fleet.PlanShow, fleet.PlanShowRequest{})
		if err == nil && p.WaitCount != len(names) {
			err = fmt.Errorf("the plan is %+v", p)
		}
		return err
	})
	frozen := fault.Pause{reconciler}
	fault.Inject(s, frozen)
	registered(t, s, 12)
	time.Sleep(time.Until(vanished.Add(quiet + 5*time.Second))) // the time that it is frozen
	fault.Heal(s, frozen)
	healed := time.Now()
	s.WaitReady(3)
	settled(t, s, "web", counts(12, 12, 0, 0, 0), fleet.ConditionTrue)
	s.Measured("all as before", time.Since(healed), 30*time.Second)
	after := s.AtRest()
	if d := lab.Changed("", before.Keys[fleet.BucketDesiredState], after.Keys[fleet.BucketDesiredState]); len(d) > 0 {
		t.Errorf("desired state was written: %q", d)
	}
	if d := lab.Changed("", values(before.Keys[fleet.BucketDeviceState]), values(after.Keys[fleet.BucketDeviceState])); len(d) > 0 {
		t.Errorf("devices stopped or started something: %q", d)
	}
}
