package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// illegalKeys are none of any bucket: three tokens, one, upper case, a character that no client of KV takes.
func illegalKeys() []string { return []string{"a.b.c", "lonely", "Dev-0001.Web", "bad!key"} }

// Fault:   values under illegal keys, published raw to every bucket, while the services work and when they start.
// Promise: they are skipped: nothing else changes; counted by every service that reads the bucket; shown by
// "fleet doctor", each with a command that removes it.
// Budget:  gone from every service's count within 20 s of the commands.
// Found:   removing illegal keys counted as a loss of the bucket, after which all agents were asked to write again.
func TestR13_IllegalKeys(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	services := s.StartServices()
	s.StartDevices(8)
	registered(t, s, 8)
	s.API.Apply(deployment("web", region("north", "south")))
	settled(t, s, "web", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	s.WaitReady(len(services))
	before := s.AtRest()
	if out, err := s.FleetCommand(t.Context(), "doctor"); err != nil {
		t.Fatalf("something is wrong already: %v\n%s", err, out)
	}

	ready := watchReadiness(s)
	for _, bucket := range record.Buckets() {
		for _, key := range illegalKeys() {
			fault.Inject(s, &fault.RawWrite{Bucket: bucket, Key: key, Value: `{"phase":"Running"}`})
		}
	}
	t.Run("counted", func(t *testing.T) { counted(t, s, len(illegalKeys())) })
	t.Run("skipped", func(t *testing.T) { skipped(t, s, before) })
	ready.end(t)
	t.Run("also by services that start", func(t *testing.T) {
		fault.Inject(s, fault.Kill(services))
		fault.Heal(s, fault.Kill(services))
		s.WaitReady(len(services))
		counted(t, s, len(illegalKeys()))
		skipped(t, s, before)
	})

	var commands []string
	t.Run("shown", func(t *testing.T) {
		commands = examined(t, s)
		out, err := s.FleetCommand(t.Context(), "doctor")
		if err == nil {
			t.Error("the exit code of fleet doctor is 0")
		}
		for _, command := range commands {
			if !strings.Contains(out, command) {
				t.Errorf("the table does not show the command %s", command)
			}
		}
	})
	t.Run("removed", func(t *testing.T) {
		for _, command := range commands {
			if out, err := s.Shell(t.Context(), command); err != nil || strings.Contains(out, `"error"`) {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
		}
		removed := time.Now()
		counted(t, s, 0)
		s.Measured("illegal keys gone after the commands of fleet doctor", time.Since(removed), 20*time.Second)
		s.WaitReady(len(services))
		if out, err := s.FleetCommand(t.Context(), "doctor"); err != nil || !strings.Contains(out, "nothing is wrong") {
			t.Errorf("fleet doctor: %v\n%s", err, out)
		}
	})
	if d := lab.Difference(before, s.AtRest()); len(d) > 0 {
		t.Errorf("illegal keys changed something: %q", d)
	}
}

// counted waits until every service counts n illegal keys in each bucket that it reads.
func counted(t *testing.T, s *lab.Stack, n int) {
	t.Helper()
	for service, buckets := range map[string][]string{
		fleet.ServicePatcher:    {fleet.BucketResources},
		fleet.ServiceReconciler: {fleet.BucketResources, fleet.BucketDesiredState},
		fleet.ServiceAggregator: {
			fleet.BucketResources, fleet.BucketDesiredState, fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat,
		},
	} {
		for _, bucket := range buckets {
			want := map[string]bool{}
			for _, key := range illegalKeys()[:n] {
				want[key] = false
			}
			setAside(t, s, service, bucket, want)
		}
	}
}

// skipped checks that nothing but the illegal keys is different.
func skipped(t *testing.T, s *lab.Stack, before lab.Picture) {
	t.Helper()
	now := s.AtRest()
	for bucket, entries := range now.Keys {
		for _, key := range illegalKeys() {
			if entry, ok := entries[key]; !ok || entry.Delete {
				t.Errorf("%s is gone from %s", key, bucket)
			}
			delete(entries, key)
		}
	}
	if d := lab.Difference(before, now); len(d) > 0 {
		t.Errorf("something else changed: %q", d)
	}
}

// examined returns the commands by which fleet doctor has each illegal key of each bucket removed.
func examined(t *testing.T, s *lab.Stack) (commands []string) {
	t.Helper()
	var report struct {
		Findings []struct{ Kind, Bucket, Key, Why, Command string }
	}
	s.Eventually(20*time.Second, "fleet doctor shows every illegal key", func(ctx context.Context) error {
		commands = nil
		out, _ := s.FleetCommand(ctx, "doctor", "--limit", "0", "-o", "json") // it exits with 1
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		missing := map[string]bool{}
		for _, bucket := range record.Buckets() {
			for _, key := range illegalKeys() {
				missing[bucket+"/"+key] = true
			}
		}
		for _, f := range report.Findings {
			at := f.Bucket + "/" + f.Key
			if f.Kind != "IllegalKey" || !missing[at] || f.Why == "" || f.Command == "" {
				return fmt.Errorf("an unexpected finding: %+v", f)
			}
			delete(missing, at)
			commands = append(commands, f.Command)
		}
		if len(missing) > 0 {
			return fmt.Errorf("it does not show %v", missing)
		}
		return nil
	})
	return commands
}
