package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   while all services are down (SIGKILL) Devices are deleted, and are Terminating because of their
// finalizers, or have them stripped by hand and are gone; of half of them the info key goes, too; half of
// them have an agent that is alive, the others' is dead.
// Promise: the desired keys and the device-* keys of the dead ones are gone, and with them the Devices: old
// info brings none back. The living ones are registered again, under another uid, and run again what they
// ran. Nothing else is touched.
// Budget:  correct within 30 s of the start.
// Found:   -
func TestR05_DeviceDeletedWhileDown(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	services := fault.Kill{
		s.Start(fleet.ServicePatcher), s.Start(fleet.ServiceAggregator, quickAggregator...), s.Start(fleet.ServiceReconciler, quickBrake...),
	}
	s.WaitReady(3)
	s.StartDevices(24, quickDevices...)
	dead := s.StartDevices(4, append(quickDevices, "--prefix", "old-")...)
	registered(t, s, 28)
	s.API.Apply(deployment("web", fleet.Selector{}))
	settled(t, s, "web", counts(28, 28, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest()
	uids := map[string]string{}
	for _, name := range []string{"dev-0001", "dev-0002", "dev-0003", "dev-0004"} {
		u, err := s.API.Get(t.Context(), fleet.KindDevice, name)
		if err != nil {
			t.Fatal(err)
		}
		uids[name] = string(u.GetUID())
	}

	deleted, vanished := []string{"old-0001", "old-0002", "dev-0001", "dev-0002"}, []string{"old-0003", "old-0004", "dev-0003", "dev-0004"}
	concerned := slices.Concat(deleted, vanished)
	fault.Inject(s, fault.Kill{dead})
	fault.Inject(s, services)
	for _, name := range deleted {
		s.API.Delete(fleet.KindDevice, name)
		if u, err := s.API.Get(t.Context(), fleet.KindDevice, name); err != nil || u.GetDeletionTimestamp() == nil {
			t.Fatalf("%s is not Terminating: %v, %v", name, u, err)
		}
	}
	fault.Inject(s, fault.Vanish{Kind: fleet.KindDevice, Names: vanished})
	fault.Inject(s, fault.LostKeys{Bucket: fleet.BucketDeviceInfo, Keys: []string{"info.old-0002", "info.old-0004", "info.dev-0002", "info.dev-0004"}})
	added := s.API.RecordAdded(fleet.KindDevice)
	fault.Heal(s, services)
	began := time.Now()

	s.Eventually(30*time.Second, "the dead to be gone, the living to be back", func(ctx context.Context) error {
		left, err := keysOf(ctx, s, "old-")
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		for _, name := range concerned {
			if strings.HasPrefix(name, "old-") {
				if err := s.API.Gone(ctx, fleet.KindDevice, name); err != nil {
					return err
				}
				continue
			}
			u, err := s.API.Get(ctx, fleet.KindDevice, name)
			if err != nil {
				return err
			}
			if string(u.GetUID()) == uids[name] {
				return fmt.Errorf("%s is the old one: %v", name, u.Object["metadata"])
			}
		}
		return nil
	})
	settled(t, s, "web", counts(24, 24, 0, 0, 0), fleet.ConditionTrue)
	s.Measured("deleted while down: the dead gone, the living back and running", time.Since(began), 30*time.Second)
	s.WaitReady(3)
	after := s.AtRest()
	if d := others(before, after, append(concerned, "web")...); len(d) > 0 {
		t.Errorf("more was touched: %q", d)
	}
	for key, e := range before.Keys[fleet.BucketDesiredState] {
		if !ofEither(key, concerned...) && after.Keys[fleet.BucketDesiredState][key] != e {
			t.Errorf("%s was touched", key)
		}
	}
	if left, err := keysOf(t.Context(), s, "old-"); err != nil || len(left) > 0 {
		t.Errorf("of the dead there are %v (%v)", left, err)
	}
	if names := added(); len(names) != 4 || slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "old-") }) {
		t.Errorf("created were %v, want the four living ones once", names)
	}
}

// keysOf returns the keys, of desired-state and the agents' buckets, of devices whose ids begin so.
func keysOf(ctx context.Context, s *lab.Stack, prefix string) (out []string, err error) {
	for _, b := range []string{fleet.BucketDesiredState, fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat} {
		keys, err := s.NATS.Keys(ctx, b)
		if err != nil {
			return nil, err
		}
		for key := range keys {
			if strings.HasPrefix(key, prefix) || strings.Contains(key, "."+prefix) {
				out = append(out, b+"/"+key)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}
