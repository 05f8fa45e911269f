package invariant

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestFailVisibly(t *testing.T) {
	const service = fleet.ServicePatcher
	exit := func(s *script, expected bool, how string) {
		s.add(record.Event{Process: &record.Process{Kind: record.ProcessExited, Service: service, Instance: service + "-1", Expected: expected, Exit: how}})
	}
	says := func(state fleet.State, ready bool, reasons ...fleet.Reason) func(s *script) {
		return func(s *script) {
			s.add(record.Event{Health: &record.Health{Service: service, Instance: "patcher-1", State: state, Ready: ready, Reasons: reasons}})
		}
	}
	why := fleet.Reason{Reason: "Disconnected"}
	judged(t, failVisibly, []example{
		{"a crash", func(s *script) { exit(s, false, "exit status 2") }, "ended by itself: exit status 2"},
		{"exit code 0 by itself", func(s *script) { exit(s, false, "") }, "ended by itself: exit code 0"},
		{"a crash after a restart", func(s *script) {
			s.process(record.ProcessKilled, service)
			exit(s, false, "signal: killed")
			s.process(record.ProcessStarted, service)
			exit(s, false, "exit status 1")
		}, "ended by itself: exit status 1"},
		{"SIGTERM and no clean end", func(s *script) { s.process(record.ProcessStopping, service); exit(s, true, "exit status 1") }, "was told to end and did so with: exit status 1"},
		{"degraded without a reason", says(fleet.StateDegraded, true), "is degraded, ready true, without a reason"},
		{"held without a reason", says(fleet.StateHeld, true), "is held"},
		{"not ready without a reason", says(fleet.StateConverging, false), "is converging, ready false"},

		{"a kill", func(s *script) { s.process(record.ProcessKilled, service); exit(s, false, "signal: killed") }, ""},
		{"a stop", func(s *script) { s.process(record.ProcessStopping, service); exit(s, false, "") }, ""},
		{"a stop that had to be a kill", func(s *script) {
			s.process(record.ProcessStopping, service)
			s.process(record.ProcessKilled, service)
			exit(s, false, "signal: killed")
		}, ""},
		{"a crash that the scenario asked for", func(s *script) { exit(s, true, "exit status 2") }, ""},
		{"degraded with a reason", says(fleet.StateDegraded, false, why), ""},
		{"starting", says(fleet.StateStarting, false), ""},
		{"replaying", says(fleet.StateReplaying, false), ""},
		{"ready", says(fleet.StateReady, true), ""},
	})
}

func TestBoundedCost(t *testing.T) {
	consumers := func(s *script, bucket string, n int) { s.stream(bucket, record.StreamConsumers, n) }
	kill := func(s *script) {
		s.process(record.ProcessKilled, fleet.ServiceReconciler)
		s.process(record.ProcessExited, fleet.ServiceReconciler)
	}
	judged(t, boundedCost, []example{
		{"they pile up", func(s *script) { consumers(s, fleet.BucketDesiredState, 9) }, "desired-state has 9 consumers, at most 8"},
		{"on a bucket that one service reads", func(s *script) { consumers(s, fleet.BucketDeviceState, 7) }, "at most 6"},
		{"on one that nobody reads", func(s *script) { consumers(s, fleet.BucketLeases, 5) }, "at most 4"},
		{"those of a process long gone", func(s *script) {
			kill(s)
			s.after(2 * time.Minute)
			consumers(s, fleet.BucketDesiredState, 7)
		}, "at most 6"},

		{"one for each", func(s *script) { consumers(s, fleet.BucketResources, 3) }, ""},
		{"as many left behind, and the scenario reads", func(s *script) { consumers(s, fleet.BucketResources, 10) }, ""},
		{"those of processes just killed and started again", func(s *script) {
			for range 3 {
				kill(s)
				s.process(record.ProcessStarted, fleet.ServiceReconciler)
			}
			consumers(s, fleet.BucketDesiredState, 14)
		}, ""},
		{"nothing is known of processes", func(s *script) { s.rec = nil; consumers(s, fleet.BucketDesiredState, 99) }, ""},
	})
}

func TestAudit(t *testing.T) {
	const bucket, key = fleet.BucketDeviceState, "state.pi-3.web"
	ack := func(s *script, revision uint64, value string) {
		s.add(record.Event{Ack: &record.Ack{Bucket: bucket, Key: key, Revision: revision, Value: value}})
	}
	judged(t, audit, []example{
		{"never seen", func(s *script) { ack(s, s.revision[bucket]+1, "a") }, "is lost"},
		{"another value", func(s *script) { ack(s, s.put(bucket, key, "b"), "a") }, `"b" instead of "a"`},
		{"a marker in its place", func(s *script) {
			ack(s, s.op(record.Op{Bucket: bucket, Key: key, Kind: record.OpDelete}), "a")
		}, "is not what stands there"},
		{"only an older one of the key", func(s *script) {
			old := s.put(bucket, key, "a")
			s.put(bucket, "state.pi-4.web", "x")
			ack(s, old+1, "b")
		}, "is lost"},
		{"the key of another bucket", func(s *script) {
			ack(s, s.put(fleet.BucketDeviceInfo, key, "a"), "a")
		}, "is lost"},

		{"seen", func(s *script) { ack(s, s.put(bucket, key, "a"), "a") }, ""},
		{"seen later", func(s *script) { ack(s, s.revision[bucket]+1, "a"); s.after(3*time.Second).put(bucket, key, "a") }, ""},
		{"superseded without having been seen", func(s *script) {
			ack(s, s.revision[bucket]+1, "a")
			s.op(record.Op{Bucket: bucket, Key: key, Value: "b", Missed: 3})
		}, ""},
		{"deleted later", func(s *script) {
			ack(s, s.put(bucket, key, "a"), "a")
			s.op(record.Op{Bucket: bucket, Key: key, Kind: record.OpDelete})
		}, ""},
		{"rolled back later", func(s *script) {
			ack(s, s.revision[bucket]+1, "a")
			s.after(time.Second).found(bucket)
		}, ""},
		{"the stream is gone", func(s *script) { ack(s, s.revision[bucket]+1, "a"); s.stream(bucket, record.StreamGone, 0) }, ""},
		{"at the end of the recording", func(s *script) { s.after(time.Hour); ack(s, s.revision[bucket]+1, "a"); s.after(-9 * time.Second) }, ""},
	})
}

func TestSometimes(t *testing.T) {
	health := func(s *script, h record.Health) {
		h.Service, h.Instance = fleet.ServiceReconciler, "reconciler-1"
		s.add(record.Event{Health: &h})
	}
	for _, c := range []struct {
		path  string
		build func(s *script)
	}{
		{PathRebuild, func(s *script) { s.found(fleet.BucketDesiredState) }},
		{PathRebuild, func(s *script) {
			health(s, record.Health{Pass: 2, Ready: true})
			health(s, record.Health{Pass: 3})
		}},
		{PathRefused, func(s *script) { s.add(record.Event{Seen: &record.Seen{Path: PathRefused}}) }},
		{PathTakeover, func(s *script) { s.take(fleet.BucketDesiredState, "reconciler-2") }},
		{PathBrake, func(s *script) { s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h"}`) }},
		{PathStale, func(s *script) { s.say(status(1, 1, 0, 0, 1)) }},
		{PathPoison, func(s *script) { health(s, record.Health{Poison: 1}) }},
		{PathDegraded, func(s *script) { health(s, record.Health{State: fleet.StateDegraded}) }},
		{PathGarbage, func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDeviceInfo, Key: "info.pi-1", Kind: record.OpDelete})
		}},
		{"", func(s *script) { // nothing of all that
			health(s, record.Health{Pass: 1})
			health(s, record.Health{Pass: 2, Ready: true})
			s.process(record.ProcessStarted, fleet.ServiceReconciler)
			s.take(fleet.BucketDesiredState, "reconciler-1")
			s.put(fleet.BucketDesiredState, fleet.KeyHold, "foreign")
		}},
	} {
		t.Run(c.path, func(t *testing.T) {
			s := settled()
			c.build(s)
			want := map[string]int{PathRebuild: 0, PathRefused: 0, PathTakeover: 0, PathBrake: 0, PathStale: 0, PathPoison: 0, PathDegraded: 0, PathGarbage: 0}
			if c.path != "" {
				want[c.path] = 1
			}
			if got := Sometimes(s.rec); !maps.Equal(got, want) {
				t.Errorf("got %s, want %s", fmt.Sprint(got), fmt.Sprint(want))
			}
		})
	}
}
