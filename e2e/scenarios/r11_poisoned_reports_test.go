package scenarios

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// poisonedReports are device-state payloads that are not of the contract.
func poisonedReports() []struct{ name, value string } {
	return []struct{ name, value string }{
		{"malformed", `{"phase":"Running","observedHash":`},
		{"oversized", `{"phase":"Running","lastError":"` + strings.Repeat("x", fleet.MaxReportSize) + `"}`},
		{"empty", ""},
		{"deeply nested", nested(2000)},
		{"not UTF-8", "{\"phase\":\"Running\",\"lastError\":\"\xff\xfe\xc3\"}"},
		{"future phase", `{"apiVersion":"fleet.harmony.dev/v9","phase":"Hibernating","observedHash":"` + strings.Repeat("0", 64) + `","lastEventAt":"2031-01-01T00:00:00Z"}`},
	}
}

// Fault:   a storm of malformed, oversized, empty, deeply nested, non-UTF-8 and future-versioned device-state
// payloads under the pairs of one Deployment, thousands a second; then one of each kind; then a restart.
// Promise: only those entries are affected: their last good value counts on while the process lives, and as
// pending after a restart; they are counted and shown; other pairs progress; services stay ready.
// Budget:  a report of another pair counts within 10 s during the storm; right within 10 s of good reports.
// Found:   -
func TestR11_PoisonedReports(t *testing.T) {
	seed := lab.Seed(t)
	s := lab.New(t, lab.Options{})
	services := s.StartServices()
	devices := []*lab.Instance{s.StartDevices(24)}
	registered(t, s, 24)
	s.API.CreateDevice("shelf", map[string]string{"region": "north"}) // has no agent
	s.API.Apply(deployment("web", region("north")))
	s.API.Apply(deployment("other", region("east")))
	settled(t, s, "web", counts(7, 6, 0, 1, 0), fleet.ConditionFalse)
	settled(t, s, "other", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	s.WaitReady(len(services))
	before := s.AtRest()

	// All pairs of web that run, and one that nobody desires: which of them are set aside, and have a good value.
	kept := map[string]bool{"state.dev-0002.nothing": false}
	var running []string
	for _, key := range slices.Sorted(maps.Keys(before.Keys[fleet.BucketDeviceState])) {
		if strings.HasSuffix(key, ".web") {
			running = append(running, key)
			kept[key] = true
		}
	}
	if len(running) != len(poisonedReports()) {
		t.Fatalf("%d pairs of web run, want %d", len(running), len(poisonedReports()))
	}
	storm := &fault.WriteStorm{Bucket: fleet.BucketDeviceState, Seed: seed, Keys: slices.Sorted(maps.Keys(kept))}
	for _, p := range poisonedReports() {
		storm.Values = append(storm.Values, p.value)
	}
	ready := watchReadiness(s)
	statuses := s.API.RecordStatuses("web")

	t.Run("storm", func(t *testing.T) {
		fault.Inject(s, storm)
		setAside(t, s, fleet.ServiceAggregator, fleet.BucketDeviceState, kept)
		applied := time.Now()
		s.API.Apply(deployment("third", region("west")))
		settled(t, s, "third", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
		s.Measured("a new Deployment ready during the storm", time.Since(applied), 10*time.Second)
		changed := deployment("other", region("east"))
		changed.Score.Data = []byte(`{"image":"demo:2"}`)
		s.API.Apply(changed)
		settled(t, s, "other", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
		fault.Heal(s, storm)
		if rate := float64(storm.Sent) / storm.Took.Seconds(); rate < 500 { // on a machine of its own it is thousands
			t.Errorf("the storm had only %.0f writes a second", rate)
		}
		setAside(t, s, fleet.ServiceAggregator, fleet.BucketDeviceState, kept)
		logged(t, s, services, len(kept))
	})
	for i, p := range poisonedReports() {
		t.Run(p.name, func(t *testing.T) {
			w := &fault.RawWrite{Bucket: fleet.BucketDeviceState, Key: running[i], Value: p.value}
			fault.Inject(s, w)
			s.Eventually(10*time.Second, "the entry shown", func(ctx context.Context) error {
				n, shown, err := aside(ctx, s, fleet.ServiceAggregator, fleet.BucketDeviceState)
				if p := shown[running[i]]; err == nil && (n != len(kept) || p.Revision != w.Revision || !p.Kept) {
					err = fmt.Errorf("%d set aside, this one as %+v, want revision %d", n, p, w.Revision)
				}
				return err
			})
		})
	}
	t.Run("too large for the bucket", func(t *testing.T) {
		subject := fleet.KeySubject(fleet.BucketDeviceState, running[0])
		if _, err := s.NATS.JetStream().Publish(t.Context(), subject, make([]byte, 64<<10), jetstream.WithRetryAttempts(0)); err == nil {
			t.Error("the server took a value eight times as large as the contract allows")
		}
	})
	// From here on a device asks for attention that has no agent, and whoever reads it asks all to report again.
	fault.Inject(s, fault.Pause(devices))
	t.Run("new fields are read over", func(t *testing.T) {
		report := fmt.Sprintf(`{"apiVersion":"fleet.harmony.dev/v2","phase":"Running","observedHash":%q,"lastEventAt":"2031-01-01T00:00:00Z","probes":{"http":[1,2]}}`,
			fleet.Hash([]byte(before.Keys[fleet.BucketDesiredState]["shelf.web"].Value)))
		for _, value := range []string{report, "\x00"} {
			fault.Inject(s, &fault.RawWrite{Bucket: fleet.BucketDeviceState, Key: "state.shelf.web", Value: value})
			settled(t, s, "web", counts(7, 7, 0, 0, 0), fleet.ConditionTrue)
			kept["state.shelf.web"] = value != report
			want := kept
			if value == report {
				want = only(kept, func(key string) bool { return key != "state.shelf.web" })
			}
			setAside(t, s, fleet.ServiceAggregator, fleet.BucketDeviceState, want)
		}
	})
	ready.end(t)
	for _, status := range statuses.All() {
		if a := countsOf(status.Aggregate); a != counts(7, 6, 0, 1, 0) && a != counts(7, 7, 0, 0, 0) {
			t.Errorf("a status of web had the counts %v", a)
		}
	}
	simulated := func(key string) bool { return strings.HasPrefix(key, "Device/dev-") }
	if d := lab.Changed("", only(before.Resources, simulated), only(s.MustPicture().Resources, simulated)); len(d) > 0 {
		t.Errorf("Devices were written: %q", d)
	}
	if out, err := s.FleetCommand(t.Context(), "status"); err != nil || !strings.Contains(out, fmt.Sprintf("device-state: %d entries are set aside", len(kept))) {
		t.Errorf("fleet status does not show it (%v):\n%s", err, out)
	}

	t.Run("restart", func(t *testing.T) {
		aggregator := []*lab.Instance{s.Holder(fleet.ServiceAggregator)}
		fault.Inject(s, fault.Kill(aggregator))
		fault.Heal(s, fault.Kill(aggregator))
		s.WaitReady(len(services))
		for key := range kept {
			kept[key] = false
		}
		setAside(t, s, fleet.ServiceAggregator, fleet.BucketDeviceState, kept)
		settled(t, s, "web", counts(7, 0, 0, 7, 0), fleet.ConditionFalse)
		settled(t, s, "other", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
		settled(t, s, "third", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	})
	t.Run("healed", func(t *testing.T) {
		asked := time.Now()
		fault.Heal(s, fault.Pause(devices))
		if err := s.Conn().Publish(fleet.SubjectResyncAll, nil); err != nil {
			t.Fatal(err)
		}
		settled(t, s, "web", counts(7, 6, 0, 1, 0), fleet.ConditionFalse)
		s.Measured("poisoned pairs right after good reports", time.Since(asked), 10*time.Second)
		setAside(t, s, fleet.ServiceAggregator, fleet.BucketDeviceState, map[string]bool{"state.shelf.web": false, "state.dev-0002.nothing": false})
	})
	after := s.AtRest()
	web := func(key string) bool { return strings.HasSuffix(key, ".web") }
	if d := lab.Changed("", only(before.Keys[fleet.BucketDesiredState], web), only(after.Keys[fleet.BucketDesiredState], web)); len(d) > 0 {
		t.Errorf("reports changed what is desired: %q", d)
	}
}

// logged checks that the log of the aggregator tells of every entry set aside, and not of every write: once, and once more
// when in between the agents were asked to say everything again, and an entry was good for a moment.
func logged(t *testing.T, s *lab.Stack, services []*lab.Instance, want int) {
	t.Helper()
	lines := 0
	for _, i := range services {
		if i.Service() != fleet.ServiceAggregator {
			continue
		}
		log, err := os.ReadFile(filepath.Join(s.Dir(), i.ID()+".log"))
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(log), "entry set aside")
	}
	if lines < want || lines > 2*want {
		t.Errorf("%d lines in the log, want one or two for each of %d entries", lines, want)
	}
}
