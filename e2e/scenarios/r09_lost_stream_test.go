package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   the stream of each bucket in turn is deleted; deleted and created again at once; purged; or
// everything that NATS stores is wiped.
// Promise: every reader notices; views forget what is lost; the owner creates the bucket; desired state is
// rewritten from the resources, byte for byte, and agents republish; no workload is torn down, no resource
// is written, and no other bucket.
// Budget:  noticed within 5 s, corrected within 10 s.
// Found:   -
func TestR09_LostStream(t *testing.T) {
	for name, f := range map[string]func(bucket string) fault.Fault{
		"deleted":   func(b string) fault.Fault { return fault.StreamDelete(b) },
		"recreated": func(b string) fault.Fault { return fault.StreamRecreate{Buckets: []string{b}} },
		"purged":    func(b string) fault.Fault { return fault.StreamPurge(b) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := smallFleet(t, lab.Options{})
			l := newLosing(t, s, 12)
			for _, bucket := range buckets {
				l.lose(f(bucket), bucket)
			}
		})
	}
	t.Run("wiped", func(t *testing.T) {
		t.Parallel()
		l := newLosing(t, smallFleet(t, lab.Options{}), 12)
		l.lose(fault.StoreWipe{}, buckets...)
	})
}

// Fault:   NATS is restarted with what it had stored of one bucket, each in turn, when a Deployment was not
// there yet, another was older, and a third was not deleted yet.
// Promise: as above; the Deployment that was deleted since is not carried out again.
// Budget:  noticed within 5 s, corrected within 10 s, from when NATS is back.
// Found:   a Deployment that was deleted since the backup was put on its devices again, and its second deletion
// counted as lost truth: in a large fleet it would have been held. While the patcher took a new epoch, a device that
// asked was offered the deleted Deployment again.
func TestR09_StoreRolledBack(t *testing.T) {
	t.Parallel()
	s := smallFleet(t, lab.Options{})
	s.API.Apply(deployment("gone", region("north")))
	settled(t, s, "gone", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	s.NATS.Kill()
	backup := s.NATS.Backup()
	s.NATS.Start()
	s.WaitReady(3)
	s.API.Delete(fleet.KindDeployment, "gone")
	newer := deployment("coast", region("east", "west"))
	newer.Score.Data = json.RawMessage(`{"image":"demo:2"}`)
	s.API.Apply(newer)
	s.API.Apply(deployment("late", region("north", "east")))
	s.Eventually(20*time.Second, "the Deployment to go", func(ctx context.Context) error {
		return s.API.Gone(ctx, fleet.KindDeployment, "gone")
	})
	settled(t, s, "late", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "coast", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)

	l := newLosing(t, s, 12)
	for _, bucket := range buckets {
		l.lose(fault.StoreRollback{Buckets: []string{bucket}, Backup: backup}, bucket)
	}
}

// Fault:   NATS is restarted with what it had stored of device-state before a Deployment was edited and another one
// mended, while all devices are paused (SIGSTOP): what is stored is all that is said, until they go on. The same once more
// after the bucket was deleted and created anew.
// Promise: the old reports are not taken for what the devices say now: no resource is written.
// Budget:  corrected within 10 s of when the devices go on.
// Found:   a status went back to pending while the devices ran what was wanted, when the aggregator had read the old
// reports before the devices had sent new ones.
func TestR09_OldReportsAreNotBelieved(t *testing.T) {
	t.Parallel()
	s := smallFleet(t, lab.Options{})
	s.NATS.Kill()
	backup := s.NATS.Backup()
	s.NATS.Start()
	s.WaitReady(3)
	edited := deployment("coast", region("east", "west"))
	edited.Score.Data = json.RawMessage(`{"image":"demo:2"}`)
	s.API.Apply(edited)
	s.API.Apply(deployment("broken", region("south")))
	settled(t, s, "coast", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "broken", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest().Resources

	old := fault.StoreRollback{Buckets: []string{fleet.BucketDeviceState}, Backup: backup}
	oldReports(t, s, old, before)
	fault.Inject(s, fault.StreamDelete(fleet.BucketDeviceState))
	s.Eventually(20*time.Second, "the reports to be there again", func(ctx context.Context) error {
		keys, err := s.NATS.Keys(ctx, fleet.BucketDeviceState)
		if err == nil && len(keys) != 9 {
			err = fmt.Errorf("%d", len(keys))
		}
		return err
	})
	s.WaitReady(3)
	s.AtRest()
	oldReports(t, s, old, before)
}

// oldReports sets device-state back while nobody can say anything newer: no resource is to be written.
func oldReports(t *testing.T, s *lab.Stack, old fault.StoreRollback, before map[string]lab.Resource) {
	t.Helper()
	devices := fault.Pause(s.Instances("fleet-sim"))
	fault.Inject(s, devices)
	fault.Inject(s, old)
	s.Eventually(20*time.Second, "both statuses to wait for reports", func(ctx context.Context) error {
		h, err := s.Instances(fleet.ServiceAggregator)[0].Probe(ctx)
		waits := fleet.Reason{Reason: "Rebuilding", Message: "2 statuses wait until what was lost is rebuilt"}
		if err == nil && !slices.Contains(h.Reasons, waits) {
			err = fmt.Errorf("it is %s because of %v", h.State, h.Reasons)
		}
		return err
	})
	fault.Heal(s, devices)
	healed := time.Now()
	s.WaitReady(3) // so no status waits any more
	s.Measured("old reports replaced", time.Since(healed), correctedWithin)
	if d := lab.Changed("", before, s.AtRest().Resources); len(d) > 0 {
		t.Errorf("resources were written: %q", d)
	}
}

// Fault:   device-state is deleted while a device that reported is switched off.
// Promise: its report is forgotten: no status after that counts it as running. Nothing else changes.
// Budget:  the status is correct within 10 s; statuses wait 6 s for the reports of those that live.
// Found:   -
func TestR09_LostReportIsForgotten(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	s.Start(fleet.ServicePatcher)
	s.Start(fleet.ServiceReconciler, wholeSnapshots...)
	s.Start(fleet.ServiceAggregator, "--rebuild-for", "6s") // agents answer within 3 s
	s.StartDevices(3)
	off := s.StartDevices(1, "--first", "4")
	s.WaitReady(3)
	registered(t, s, 4)
	s.API.Apply(deployment("web", region("north", "east", "south", "west")))
	settled(t, s, "web", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	fault.Inject(s, fault.Kill{off})
	before := s.AtRest()
	statuses := s.API.RecordStatuses("web")

	fault.Inject(s, fault.StreamDelete(fleet.BucketDeviceState))
	start := time.Now()
	settled(t, s, "web", counts(4, 3, 0, 1, 0), fleet.ConditionFalse)
	s.Measured("status without the lost report", time.Since(start), correctedWithin)
	for _, status := range statuses.All() {
		if c := countsOf(status.Aggregate); c != counts(4, 4, 0, 0, 0) && c != counts(4, 3, 0, 1, 0) {
			t.Errorf("a status counted %v", c)
		}
	}
	after := s.AtRest()
	if d := lab.Changed("", before.Keys[fleet.BucketDesiredState], after.Keys[fleet.BucketDesiredState]); len(d) > 0 {
		t.Errorf("desired state was written: %q", d)
	}
	if n := len(after.Keys[fleet.BucketDeviceState]); n != 3 {
		t.Errorf("%d reports, want 3", n)
	}
	fault.Heal(s, fault.Kill{off})
	settled(t, s, "web", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	s.AtRest()
}

// Fault:   in a fleet of 250 devices that run 40 Deployments each, the streams of the two buckets of 10,000 keys are deleted,
// purged, and set back to what they were before a Deployment was edited; at last everything that NATS stores is wiped.
// Promise: as in the small.
// Budget:  noticed within 5 s, corrected within 10 s.
// Found:   old reports were believed, and a status written back and forth, when the backup was of a time before the
// bucket was created last. After each loss the reconciler rested longer before it took its lease again.
func TestR09_LostStreamWith10kKeys(t *testing.T) {
	const devices, deployments = 250, 40
	s := lab.New(t, lab.Options{Shipped: true})
	s.Start(fleet.ServicePatcher)
	s.Start(fleet.ServiceReconciler, wholeSnapshots...)
	s.Start(fleet.ServiceAggregator)
	s.WaitReady(3)
	s.StartDevices(devices, "--delay", "0s..50ms", "--connections", "4")
	s.AwaitDevices(2*time.Minute, devices, "")
	for i := range deployments {
		s.API.Apply(deployment(fmt.Sprintf("app-%03d", i), region("north", "east", "south", "west")))
	}
	everywhere(t, s, deployments, devices)
	s.NATS.Kill()
	backup := s.NATS.Backup()
	s.NATS.Start()
	edited := deployment("app-000", region("north", "east", "south", "west"))
	edited.Score.Data = json.RawMessage(`{"image":"demo:2"}`)
	s.API.Apply(edited)
	settled(t, s, "app-000", counts(devices, devices, 0, 0, 0), fleet.ConditionTrue)
	l := newLosing(t, s, devices)
	for _, bucket := range []string{fleet.BucketDesiredState, fleet.BucketDeviceState} {
		l.lose(fault.StreamDelete(bucket), bucket)
		l.lose(fault.StreamPurge(bucket), bucket)
		l.lose(fault.StoreRollback{Buckets: []string{bucket}, Backup: backup}, bucket)
	}
	l.lose(fault.StoreWipe{}, buckets...)
}
