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
)

// Fault:   SIGKILL of all services while desired-state has keys and no device has ever reported.
// Promise: matched = pending = N and running = 0 in every status ever published.
// Budget:  ready within 60 s, the same status again within 20 s from then.
// Found:   -
func TestR02_RestartWithDesiredStateOnly(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	services := s.StartServices()
	const n = 5
	for i := range n {
		s.API.CreateDevice(fmt.Sprintf("shelf-%d", i), map[string]string{"region": "north"})
	}
	s.WaitReady(len(services))
	s.Eventually(20*time.Second, "the Devices in the mirror", func(ctx context.Context) error {
		keys, err := s.NATS.Keys(ctx, fleet.BucketResources)
		mirrored := only(keys, func(key string) bool { return strings.HasPrefix(key, "device.") })
		if err == nil && len(mirrored) != n {
			err = fmt.Errorf("%d", len(mirrored))
		}
		return err
	})
	statuses := s.API.RecordStatuses("web")
	s.API.Apply(deployment("web", region("north")))
	settled(t, s, "web", counts(n, 0, 0, n, 0), fleet.ConditionFalse)
	before := s.AtRest()
	if got := len(before.Keys[fleet.BucketDesiredState]); got != n {
		t.Fatalf("desired-state has %d keys before the fault, want %d", got, n)
	}
	if got := len(before.Keys[fleet.BucketDeviceState]); got != 0 {
		t.Fatalf("device-state has %d keys before the fault, want none", got)
	}

	s.Steady(func() {
		fault.Inject(s, fault.Kill(services))
		fault.Heal(s, fault.Kill(services))
		start := time.Now()
		s.WaitReady(len(services))
		s.Measured("ready after SIGKILL of all services", time.Since(start), time.Minute)
		settled(t, s, "web", counts(n, 0, 0, n, 0), fleet.ConditionFalse)
		if d := lab.Difference(before, s.AtRest()); len(d) > 0 {
			t.Errorf("the restart changed something: %q", d)
		}
	})
	all := statuses.All()
	if len(all) == 0 {
		t.Fatal("no status was recorded")
	}
	for _, status := range all {
		a := status.Aggregate
		if countsOf(a) != counts(n, 0, 0, n, 0) {
			t.Errorf("a status counted what nobody reported: %+v", a)
		}
	}
}
