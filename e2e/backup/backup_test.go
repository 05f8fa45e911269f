package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest/kubetest"
	"harmony.dev/fleet/rpc"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// restored are the buckets that a backup has.
var restored = []string{
	fleet.BucketDeviceHeartbeat, fleet.BucketDeviceState, fleet.BucketDeviceInfo, fleet.BucketDesiredState, fleet.BucketResources,
}

// site is a fleet of twelve devices that run something, and one that is switched off.
type site struct {
	*lab.Stack
	t       *testing.T
	on, off *lab.Instance
}

// newSite starts it. Devices may remove what is not in their snapshot almost at once, as in a fleet that is old: the grace
// for new buckets protects nothing here.
func newSite(t *testing.T, o lab.Options) *site {
	t.Helper()
	s := &site{Stack: lab.New(t, o), t: t}
	s.Start(fleet.ServicePatcher)
	s.Start(fleet.ServiceReconciler, "--incomplete-for", "1s")
	s.Start(fleet.ServiceAggregator, "--heartbeat-interval", "2s", "--stale-after", "8s", "--silence-after", "50s", "--rebuild-for", "6s")
	s.on = s.StartDevices(12, "--heartbeat", "1s")
	s.off = s.StartDevices(1, "--first", "13", "--heartbeat", "1s")
	s.WaitReady(3)
	s.AwaitDevices(40*time.Second, 13, "")
	s.apply("coast", "demo:1", "east", "west", "north")
	s.apply("gone", "demo:1", "north")
	s.apply("broken", "", "south")
	s.settled("coast", 10, 10, 0, 0, 0)
	s.settled("gone", 4, 4, 0, 0, 0)
	s.settled("broken", 3, 0, 3, 0, 0)
	s.off.Kill()
	s.settled("coast", 10, 9, 0, 0, 1)
	s.settled("gone", 4, 3, 0, 0, 1)
	return s
}

// apply wishes for an image in some regions; one that cannot run when it has no image.
func (s *site) apply(name, image string, regions ...string) {
	data := fmt.Sprintf(`{"image":%q}`, image)
	if image == "" {
		data = `{"fail":"no such image"}`
	}
	s.API.Apply(lab.Deployment{
		Name:     name,
		Selector: fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: "region", Operator: "In", Values: regions}}},
		Score:    fleet.Score{Type: "sim", Data: json.RawMessage(data)},
	})
}

// settled waits until a status has these counts for the current generation.
func (s *site) settled(name string, matched, running, failed, pending, stale int) {
	s.t.Helper()
	want := [5]int{matched, running, failed, pending, stale}
	s.Eventually(40*time.Second, "status of "+name, func(ctx context.Context) error { return s.API.Counts(ctx, name, want) })
}

// command runs the command line and returns what it printed.
func (s *site) command(args ...string) string {
	s.t.Helper()
	out, err := s.FleetCommand(s.t.Context(), args...)
	if err != nil {
		s.t.Fatalf("fleet %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// restore restores, and notes in the recording that the buckets lose what they had.
func (s *site) restore(dir string) {
	s.t.Helper()
	s.Injected("restore", strings.Join(restored, ", "), restored...)
	began := time.Now()
	s.t.Log(s.command("restore", dir, "--replace", "--yes", "--wait", "60s"))
	s.Measured("restored, all services ready", time.Since(began), 45*time.Second)
}

// entries are the values of a bucket, and the server's stamps on them.
func (s *site) entries(bucket string) map[string]lab.Entry {
	s.t.Helper()
	keys, err := s.NATS.Keys(s.t.Context(), bucket)
	if err != nil {
		s.t.Fatal(err)
	}
	return keys
}

// same asserts that a bucket has the same values as before. A tombstone tells when, which may be another time.
func (s *site) same(bucket string, before, now map[string]lab.Entry) {
	s.t.Helper()
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if e, ok := now[key]; !ok || e.Value != before[key].Value {
			s.t.Errorf("%s/%s was %s, is %s", bucket, key, before[key].Value, e.Value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if _, ok := before[key]; !ok {
			s.t.Errorf("%s/%s was not there: %s", bucket, key, now[key].Value)
		}
	}
}

// listening hears what devices are told and what they say.
type listening struct {
	mu  sync.Mutex
	bad []string
}

// listen allows only these values of desired state to be told, and none that is wanted to be taken back; devices may say
// nothing but that they run, or do not, what is wanted.
func (s *site) listen(wanted map[string]lab.Entry, reports map[string]lab.Entry) *listening {
	s.t.Helper()
	l := &listening{}
	said := fleet.KeySubject(fleet.BucketDeviceState, "")
	for subject, f := range map[string]nats.MsgHandler{
		fleet.LivePrefix + ">": func(m *nats.Msg) {
			key := strings.TrimPrefix(m.Subject, fleet.LivePrefix)
			e, ok := wanted[key]
			removed := m.Header.Get("KV-Operation") != "" || m.Header.Get("Nats-Marker-Reason") != ""
			if !fleet.IsReserved(key) && (removed && ok || !removed && string(m.Data) != e.Value) {
				l.add("told %s: %s (removed: %v)", key, m.Data, removed)
			}
		},
		said + ">": func(m *nats.Msg) {
			key := strings.TrimPrefix(m.Subject, said)
			was, err := fleet.DecodeReport([]byte(reports[key].Value))
			now, errNow := fleet.DecodeReport(m.Data)
			if len(m.Data) > 0 && (err != nil || errNow != nil || was.Phase != now.Phase || was.ObservedHash != now.ObservedHash) {
				l.add("%s says %s", key, m.Data)
			}
		},
	} {
		sub, err := s.Conn().Subscribe(subject, f)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = sub.Unsubscribe() })
	}
	return l
}

func (l *listening) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad = append(l.bad, fmt.Sprintf(format, args...))
}

func (l *listening) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.bad[:min(len(l.bad), 10)] {
		t.Error(b)
	}
}

// sequences are how far each stream is.
func (s *site) sequences() map[string]uint64 {
	s.t.Helper()
	all := map[string]uint64{}
	for _, bucket := range record.Buckets() {
		stream, err := s.NATS.JetStream().Stream(s.t.Context(), fleet.StreamName(bucket))
		if err != nil {
			s.t.Fatal(err)
		}
		all[bucket] = stream.CachedInfo().State.LastSeq
	}
	return all
}

// Fault:   a backup is made while devices report. Then the streams of all buckets are deleted, and the backup is restored
// while the services make them anew.
// Promise: no workload is torn down or started again, statuses are right, every value is what it was, also the report of
// a device that is switched off, with the stamp that it had. No revision is used twice.
func TestBackup_EverythingIsLost(t *testing.T) {
	for name, o := range map[string]lab.Options{"one node": {}, "three nodes": {Nodes: 3}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, o)
			before := s.AtRest()
			reports := s.entries(fleet.BucketDeviceState)
			dir := filepath.Join(s.Dir(), "backup")
			began := time.Now()
			t.Log(s.command("backup", dir))
			s.Measured("backup", time.Since(began), 20*time.Second)
			after := s.MustPicture()
			if d := lab.Changed("", before.Resources, after.Resources); len(d) > 0 {
				t.Errorf("a backup changed %q", d)
			}
			heard := s.entries(fleet.BucketDeviceHeartbeat)["heartbeat.dev-0013"]
			l := s.listen(before.Keys[fleet.BucketDesiredState], reports)
			last := s.sequences()

			s.Injected("stream-delete", "all", record.Buckets()...)
			for _, bucket := range record.Buckets() {
				if err := s.NATS.JetStream().DeleteStream(t.Context(), fleet.StreamName(bucket)); err != nil {
					t.Fatal(err)
				}
			}
			s.restore(dir)
			s.settled("coast", 10, 9, 0, 0, 1)
			s.settled("gone", 4, 3, 0, 0, 1)
			s.settled("broken", 3, 0, 3, 0, 0)
			now := s.AtRest()
			for _, bucket := range []string{fleet.BucketDesiredState, fleet.BucketResources, fleet.BucketDeviceInfo, fleet.BucketDeviceState} {
				s.same(bucket, before.Keys[bucket], now.Keys[bucket])
			}
			if e := s.entries(fleet.BucketDeviceHeartbeat)["heartbeat.dev-0013"]; e.Value != heard.Value || !e.Stamp.Equal(heard.Stamp) || e.Revision <= heard.Revision {
				t.Errorf("the device that is off was heard of as %+v, now as %+v", heard, e)
			}
			for bucket, was := range last {
				for key, e := range s.entries(bucket) {
					if e.Revision <= was {
						t.Errorf("%s/%s has revision %d, which was there before (up to %d)", bucket, key, e.Revision, was)
					}
				}
			}
			l.check(t)
			s.stepsOn()
		})
	}
}

// stepsOn asserts that the fleet goes on as any other.
func (s *site) stepsOn() {
	s.t.Helper()
	s.apply("more", "demo:1", "east")
	s.settled("more", 3, 3, 0, 0, 0)
	s.API.Delete(fleet.KindDeployment, "more")
	s.Eventually(20*time.Second, "the Deployment to go", func(ctx context.Context) error {
		return s.API.Gone(ctx, fleet.KindDeployment, "more")
	})
	s.AtRest()
}

// Fault:   a backup is restored over buckets that are newer by far: since it a Deployment was deleted, one was made, one was
// edited, and a device was deleted.
// Promise: as long as the brake lets the deletes pass, what is wanted now runs on, nothing that is not is started, for no
// moment; no status says so either, and
// nothing that was deleted is made again. Nobody is asked to approve anything. Until the mirror has been quiet for 10 s
// statuses may count what was deleted.
func TestBackup_OlderThanWhatIsThere(t *testing.T) {
	s := newSite(t, lab.Options{})
	dir := filepath.Join(s.Dir(), "backup")
	s.command("backup", dir)
	s.API.Delete(fleet.KindDeployment, "gone")
	s.apply("coast", "demo:2", "east", "west")
	s.apply("late", "demo:1", "north", "east")
	s.API.Delete(fleet.KindDevice, "dev-0013")
	s.Eventually(30*time.Second, "what was deleted to go", func(ctx context.Context) error {
		if err := s.API.Gone(ctx, fleet.KindDevice, "dev-0013"); err != nil {
			return err
		}
		return s.API.Gone(ctx, fleet.KindDeployment, "gone")
	})
	s.settled("coast", 6, 6, 0, 0, 0)
	s.settled("late", 6, 6, 0, 0, 0)
	before := s.AtRest()
	l := s.listen(before.Keys[fleet.BucketDesiredState], before.Keys[fleet.BucketDeviceState])
	coast, late := s.API.RecordStatuses("coast"), s.API.RecordStatuses("late")
	devices, deployments := s.API.RecordAdded(fleet.KindDevice), s.API.RecordAdded(fleet.KindDeployment)

	s.restore(dir)
	s.settled("coast", 6, 6, 0, 0, 0)
	s.settled("late", 6, 6, 0, 0, 0)
	s.settled("broken", 3, 0, 3, 0, 0)
	s.Eventually(60*time.Second, "what is not wanted any more to go", func(context.Context) error {
		now := s.entries(fleet.BucketDesiredState)
		if len(now) != len(before.Keys[fleet.BucketDesiredState]) {
			return fmt.Errorf("%d keys, want %d", len(now), len(before.Keys[fleet.BucketDesiredState]))
		}
		return nil
	})
	now := s.AtRest()
	s.same(fleet.BucketDesiredState, before.Keys[fleet.BucketDesiredState], now.Keys[fleet.BucketDesiredState])
	for _, status := range slices.Concat(coast.All(), late.All()) {
		if status.Aggregate.Pending+status.Aggregate.Failed > 0 || lab.Condition(status, fleet.ConditionReady).Status != fleet.ConditionTrue {
			t.Errorf("a status said %+v", status)
		}
	}
	for kind, names := range map[string][]string{fleet.KindDevice: devices(), fleet.KindDeployment: deployments()} {
		if len(names) > 0 {
			t.Errorf("%s was made again: %v", kind, names)
		}
	}
	for _, h := range s.Health(t.Context()) {
		if h.State != fleet.StateReady {
			t.Errorf("%s is %s: %v", h.Instance, h.State, h.Reasons)
		}
	}
	l.check(t)
	s.stepsOn()
}

// Fault:   since the backup most of what ran was deleted, more than the brake lets pass unasked, and a device that is switched
// off now got another label. The backup is restored, and while a person is asked devices come back that have lost their disks.
// Promise: nothing that was deleted is started, for as long as nobody answers; what the label that the device got last
// selects stays on it. Once approved, the deletes are carried out again.
func TestBackup_OlderAndHeld(t *testing.T) {
	s := newSite(t, lab.Options{})
	dir := filepath.Join(s.Dir(), "backup")
	s.command("backup", dir)
	s.API.Delete(fleet.KindDeployment, "coast")
	s.API.Delete(fleet.KindDeployment, "gone")
	s.off.Start("--label-cycle", "region=south")
	s.settled("broken", 4, 0, 4, 0, 0)
	s.off.Kill()
	s.settled("broken", 4, 0, 3, 0, 1)
	before := s.AtRest()
	broken := s.API.RecordStatuses("broken")

	s.restore(dir)
	hold := s.held(14)
	s.on.Kill()
	started := s.starts("coast", "gone")
	asked := s.entries(fleet.BucketDeviceState)
	s.on.Start("--data-dir", t.TempDir())
	s.Eventually(30*time.Second, "devices to run what is not held", func(context.Context) error {
		now := s.entries(fleet.BucketDeviceState)
		for key, e := range now {
			if strings.HasSuffix(key, ".broken") && !strings.Contains(key, "dev-0013") && e.Revision == asked[key].Revision {
				return fmt.Errorf("%s was not reported anew", key)
			}
		}
		return nil
	})
	s.settled("broken", 4, 0, 3, 0, 1)
	if got := s.held(14); got != hold {
		t.Errorf("the hold was %s, and is %s", hold, got)
	}
	if _, err := rpc.CallRetry[fleet.HoldApproveRequest, fleet.HoldApproveResponse](t.Context(), s.Conn(), fleet.HoldApprove, fleet.HoldApproveRequest{ID: hold}); err != nil {
		t.Fatal(err)
	}
	now := s.AtRest()
	s.same(fleet.BucketDesiredState, before.Keys[fleet.BucketDesiredState], now.Keys[fleet.BucketDesiredState])
	for _, status := range broken.All() {
		if status.Aggregate.MatchedDeviceCount != 4 {
			t.Errorf("the device that was relabelled is not among the 4 for a while: %+v", status.Aggregate)
		}
	}
	started.check(t)
	s.stepsOn()
}

// held waits until so many deletes wait for a person, and returns the id of the hold.
func (s *site) held(deletes int) (id string) {
	s.t.Helper()
	s.Eventually(60*time.Second, "a hold", func(ctx context.Context) error {
		p, err := rpc.CallRetry[fleet.PlanShowRequest, fleet.PlanShowResponse](ctx, s.Conn(), fleet.PlanShow, fleet.PlanShowRequest{})
		if err != nil || p.Hold == nil || p.HeldCount != deletes {
			return errors.Join(err, fmt.Errorf("%d are held by %+v", p.HeldCount, p.Hold))
		}
		id = p.Hold.ID
		return nil
	})
	return id
}

// starts hears of devices that say anything of these Deployments.
func (s *site) starts(deployments ...string) *listening {
	s.t.Helper()
	l := &listening{}
	said := fleet.KeySubject(fleet.BucketDeviceState, "")
	sub, err := s.Conn().Subscribe(said+">", func(m *nats.Msg) {
		pair, err := fleet.ParseStateKey(strings.TrimPrefix(m.Subject, said))
		if len(m.Data) > 0 && (err != nil || slices.Contains(deployments, string(pair.Deployment))) {
			l.add("%s says %s", m.Subject, m.Data)
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = sub.Unsubscribe() })
	return l
}
