package invariant

import (
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestTruthOfStatus(t *testing.T) {
	wanted := value(webUID, oldScore)
	thenRest := func(f func(s *script)) func(s *script) {
		return func(s *script) { f(s); s.rest() }
	}
	failed := func(s *script, device, message string) fleet.DeploymentStatus {
		s.report("pi-1", fleet.PhaseFailed, wanted)
		st := status(1, 1, 1)
		st.Aggregate.LastError = &fleet.LastError{Device: fleet.DeviceID(device), Message: message, At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
		return st
	}
	judged(t, truthOfStatus, []example{
		{"a device too many", thenRest(func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Kind: record.OpDelete})
			st := status(1, 1)
			st.Aggregate.MatchedDeviceCount = 2
			s.say(st)
		}), "matched is 2, desired-state has 1 keys"},
		{"an error of nobody", thenRest(func(s *script) { s.say(failed(s, "pi-2", "it broke")) }), "lastError is \"it broke\" of pi-2"},
		{"another error", thenRest(func(s *script) { s.say(failed(s, "pi-1", "it works")) }), "lastError is \"it works\" of pi-1"},
		{"an error is missing", thenRest(func(s *script) {
			st := failed(s, "pi-1", "")
			st.Aggregate.LastError = nil
			s.say(st)
		}), "lastError is missing"},
		{"an error of long ago", thenRest(func(s *script) {
			st := failed(s, "pi-1", "it broke")
			st.Aggregate = status(1, 2).Aggregate
			st.Aggregate.LastError = &fleet.LastError{Device: "pi-1"}
			s.report("pi-1", fleet.PhaseRunning, wanted)
			st.Conditions = status(1, 2).Conditions
			s.say(st)
		}), "lastError is \"\" of pi-1"},
		{"no status", thenRest(func(s *script) {
			s.write(record.WriteAdded, deployment("bare", "uid-bare", "moon", oldScore))
		}), "Deployment bare has no status"},
		{"not Ready, and nothing is missing", thenRest(func(s *script) {
			st := status(1, 2)
			st.Conditions[0].Status = fleet.ConditionFalse
			s.say(st)
		}), "Ready is not True"},
		{"stale ones that do not add up", thenRest(func(s *script) {
			st := status(1, 1, 0, 0, 1)
			st.Aggregate.Stale = 2
			st.Conditions[0].Status = fleet.ConditionFalse
			s.say(st)
		}), "stale is 2, the last known are 1"},

		{"as it is", thenRest(func(*script) {}), ""},
		{"one is stale", thenRest(func(s *script) { s.say(status(1, 1, 0, 0, 1)) }), ""},
		{"one failed", thenRest(func(s *script) { s.say(failed(s, "pi-1", "it broke")) }), ""},
		{"one failed and fell silent", thenRest(func(s *script) {
			s.report("pi-1", fleet.PhaseFailed, wanted)
			s.say(status(1, 1, 0, 0, 0, 1))
		}), ""},
		{"held", thenRest(func(s *script) { s.say(stalled(status(1, 2), fleet.ReasonHeld)) }), ""},
		{"being deleted", thenRest(func(s *script) {
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Deleting = true })
			s.report("pi-1", fleet.PhasePending, wanted)
		}), ""},
		{"not at rest", func(s *script) { s.say(status(1, 0, 0, 2)); s.restReady(false) }, ""},
		{"poison elsewhere is another checker's", thenRest(func(s *script) {
			s.say(status(1, 0, 0, 2))
			s.put(fleet.BucketDeviceState, "bad!key", "{}")
		}), ""},
	})
}

// TestTruthOfStatus_Counts judges reports that count, and such that do not.
func TestTruthOfStatus_Counts(t *testing.T) {
	wanted := value(webUID, oldScore)
	for _, c := range []struct {
		name  string
		build func(s *script)
		right fleet.DeploymentStatus
	}{
		{"about another value", func(s *script) { s.report("pi-1", fleet.PhaseRunning, value(webUID, newScore)) }, status(1, 1, 0, 1)},
		{"no report", func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDeviceState, Key: "state.pi-1.web", Kind: record.OpDelete})
		}, status(1, 1, 0, 1)},
		{"pending", func(s *script) { s.report("pi-1", fleet.PhasePending, wanted) }, status(1, 1, 0, 1)},
		{"a value of another uid", func(s *script) {
			s.desire("pi-1", value("old", oldScore))
			s.report("pi-1", fleet.PhaseRunning, value("old", oldScore))
		}, status(1, 1, 0, 1)},
		{"a foreign value", func(s *script) { s.put(fleet.BucketDesiredState, "pi-1.web", wanted) }, status(1, 1, 0, 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settled()
			c.build(s)
			s.rest()
			if found := truthOfStatus(newHistory(s.rec)); len(found) != 2 {
				t.Errorf("with the old status: got %v, want running and pending to be wrong", found)
			}
			s.rec = s.rec[:len(s.rec)-1]
			s.say(c.right)
			s.rest()
			if found := truthOfStatus(newHistory(s.rec)); len(found) > 0 {
				t.Errorf("false alarm: %v", found)
			}
		})
	}
}

func TestPoisonIsolation(t *testing.T) {
	poison := func(s *script) { s.put(fleet.BucketDeviceState, "state.pi-1.web", "no JSON") }
	say := func(st fleet.DeploymentStatus) func(s *script) {
		return func(s *script) { poison(s); s.say(st); s.rest() }
	}
	spread := status(1, 0, 0, 2)
	elsewhere := func(bucket, key string, st fleet.DeploymentStatus) func(s *script) {
		return func(s *script) { s.put(bucket, key, "no JSON"); s.say(st); s.rest() }
	}
	failed := func(st fleet.DeploymentStatus) fleet.DeploymentStatus {
		st.Aggregate.LastError = &fleet.LastError{Device: "pi-1", Message: "it broke"}
		return st
	}
	for _, c := range []struct {
		name  string
		build func(s *script)
		wrong int
	}{
		{"the other pair counts as pending too", say(spread), 2},
		{"the other pair counts as failed", say(failed(status(1, 0, 2))), 2},
		{"the pair counts nowhere", say(status(1, 1)), 1},
		{"an illegal key takes others along", elsewhere(fleet.BucketDeviceState, "state.A.b.c", spread), 2},
		{"an info takes others along", elsewhere(fleet.BucketDeviceInfo, "info.pi-1", status(1, 1, 0, 1)), 2},

		{"pending", say(status(1, 1, 0, 1)), 0},
		{"as the last good report had it", say(status(1, 2)), 0},
		{"as a failure before had it", say(failed(status(1, 1, 1))), 0},
		{"stale", say(status(1, 1, 0, 0, 1)), 0},
		{"an illegal key", elsewhere(fleet.BucketDeviceState, "state.A.b.c", status(1, 2)), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settled()
			c.build(s)
			if found := truthOfStatus(newHistory(s.rec)); len(found) > 0 {
				t.Errorf("truth-of-status: %v", found)
			}
			if found := poisonIsolation(newHistory(s.rec)); len(found) != c.wrong {
				t.Errorf("got %v, want %d violations", found, c.wrong)
			}
		})
	}
}
