package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   NATS comes back with an old backup of all that the services write, from before one Deployment was created
// and another one widened; the reconciler starts anew and has seen nothing newer; the patcher starts only once every
// device has asked what it is to run, and was answered.
// Promise: no device stops anything, and no resource is written: nothing is concluded from what is not in the buckets
// while no patcher stands behind the mirror. Once one does, the wishes are put again.
// Budget:  corrected within 30 s of the patcher's start.
// Found:   each device stopped what it had been given since the backup, as soon as it was answered.
func TestR22_OldBackupOfTheHub(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	patcher := s.Start(fleet.ServicePatcher)
	reconciler := s.Start(fleet.ServiceReconciler, wholeSnapshots...)
	s.Start(fleet.ServiceAggregator)
	const devices = 12
	s.StartDevices(devices)
	s.WaitReady(3)
	registered(t, s, devices)
	s.API.Apply(deployment("base", fleet.Selector{}))
	s.API.Apply(deployment("web", region("north")))
	settled(t, s, "base", counts(devices, devices, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "web", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	s.AtRest()
	s.NATS.Kill()
	old := fault.StoreRollback{Buckets: []string{fleet.BucketResources, fleet.BucketDesiredState}, Backup: s.NATS.Backup()}
	s.NATS.Start()
	s.WaitReady(3)
	s.API.Apply(deployment("web", region("north", "east")))
	s.API.Apply(deployment("late", region("south", "west")))
	settled(t, s, "web", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "late", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest()
	told := watch(t, s, before)
	answered := watchAnswers(t, s)

	fault.Inject(s, fault.Kill{patcher, reconciler})
	fault.Inject(s, old)
	fault.Heal(s, fault.Kill{reconciler})
	answered(60*time.Second, devices)
	fault.Heal(s, fault.Kill{patcher})
	start := time.Now()
	s.Eventually(30*time.Second, "the wishes to be back", func(ctx context.Context) error {
		now, err := s.Picture(ctx)
		if d := lab.Changed("", values(before.Keys[fleet.BucketDesiredState]), values(now.Keys[fleet.BucketDesiredState])); err == nil && len(d) > 0 {
			err = fmt.Errorf("%q", d)
		}
		return err
	})
	s.WaitReady(3)
	s.Measured("corrected after the patcher's start", time.Since(start), 30*time.Second)

	after := s.AtRest()
	if d := lab.Changed("", values(before.Keys[fleet.BucketDeviceState]), values(after.Keys[fleet.BucketDeviceState])); len(d) > 0 {
		t.Errorf("devices stopped or started something: %q", d)
	}
	if d := lab.Changed("", before.Resources, after.Resources); len(d) > 0 {
		t.Errorf("resources were written: %q", d)
	}
	for _, e := range told.take() {
		t.Error(e)
	}
}

// watchAnswers listens to what devices ask the reconciler and to what it answers. The function that it returns
// waits until so many devices were answered since.
func watchAnswers(t *testing.T, s *lab.Stack) func(within time.Duration, devices int) {
	t.Helper()
	all := make(chan *nats.Msg, 10_000) // one for both, so that a request comes before its answer
	for _, subject := range []string{fleet.DesiredSubjects, nats.InboxPrefix + ">"} {
		sub, err := s.Conn().ChanSubscribe(subject, all)
		if err != nil {
			t.Fatalf("listen to %s: %v", subject, err)
		}
		t.Cleanup(func() { _ = sub.Unsubscribe() })
	}
	return func(within time.Duration, devices int) {
		t.Helper()
		asked, answered := map[string]fleet.DeviceID{}, map[fleet.DeviceID]bool{}
		for deadline := time.After(within); len(answered) < devices; {
			select {
			case m := <-all:
				if id, err := fleet.ParseDesiredSubject(m.Subject); err == nil {
					asked[m.Reply] = id
				} else if id, ok := asked[m.Subject]; ok && json.Unmarshal(m.Data, &fleet.Snapshot{}) == nil && m.Header.Get("Nats-Service-Error-Code") == "" {
					answered[id] = true
				}
			case <-deadline:
				t.Fatalf("%d of %d devices were answered within %s", len(answered), devices, within)
			}
		}
	}
}
