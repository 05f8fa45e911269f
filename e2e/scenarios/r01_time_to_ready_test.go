package scenarios

import (
	"context"
	"fmt"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   SIGKILL of all three services at once with 1,000, 10,000 and 100,000 desired keys and as many
// reports; they start again.
// Promise: as in the small, and the time to ready is reported for each size.
// Budget:  ready within 60 s.
// Found:   -
func TestR01_TimeToReady(t *testing.T) {
	const devices = 1000
	s := lab.New(t, lab.Options{Shipped: true})
	services := s.StartServices()
	s.StartDevices(devices, "--delay", "0s..50ms", "--connections", "25")
	registered(t, s, devices)
	made := 0
	for _, deployments := range []int{1, 10, 100} {
		for ; made < deployments; made++ {
			s.API.Apply(deployment(fmt.Sprintf("app-%03d", made), region("north", "east", "south", "west")))
		}
		everywhere(t, s, deployments, devices)
		before := s.AtRest()
		if got := len(before.Keys[fleet.BucketDesiredState]); got != deployments*devices {
			t.Fatalf("%d desired keys, want %d", got, deployments*devices)
		}

		fault.Inject(s, fault.Kill(services))
		fault.Heal(s, fault.Kill(services))
		start := time.Now()
		s.WaitReady(len(services))
		s.Measured(fmt.Sprintf("ready with %d keys", deployments*devices), time.Since(start), time.Minute)
		t.Logf("%d keys on %d devices take: %s", deployments*devices, devices, s.Footprint())
		time.Sleep(3 * time.Second) // what a restart writes it writes at once; to wait for rest takes a minute with so many keys
		if d := lab.Difference(before, s.MustPicture()); len(d) > 0 {
			t.Fatalf("with %d keys the restart changed something: %q", deployments*devices, d)
		}
	}
}

// everywhere waits until so many Deployments run on all devices.
func everywhere(t *testing.T, s *lab.Stack, deployments, devices int) {
	t.Helper()
	s.Eventually(3*time.Minute, fmt.Sprintf("%d Deployments on %d devices", deployments, devices), func(ctx context.Context) error {
		for i := range deployments {
			name := fmt.Sprintf("app-%03d", i)
			status, raw, err := s.API.Status(ctx, name)
			if err != nil {
				return err
			}
			if countsOf(status.Aggregate) != counts(devices, devices, 0, 0, 0) {
				return fmt.Errorf("%s: %s", name, raw)
			}
		}
		return nil
	})
}
