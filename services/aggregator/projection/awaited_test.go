package projection_test

import (
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// A report waits to be shown from when the server stamped it, if it changes what the status may say. The oldest one counts.
func TestAwaited_IsTheOldestReportThatChangesAnything(t *testing.T) {
	s := projection.New()
	wish := []byte(value("u1", 1))
	pair := func(d fleet.DeviceID) fleet.Pair { return fleet.Pair{Device: d, Deployment: "web"} }
	for _, d := range []fleet.DeviceID{"a", "b", "c"} {
		if err := s.PutDesired(pair(d), wish, epoch); err != nil {
			t.Fatal(err)
		}
	}
	revision := uint64(0)
	at := func(second int) time.Time { return epoch.Add(time.Duration(second) * time.Second) }
	report := func(d fleet.DeviceID, phase fleet.Phase, second int) {
		t.Helper()
		revision++
		r := fleet.Report{Phase: phase, ObservedHash: fleet.Hash(wish), LastEventAt: "2026-03-01T12:00:00Z"}
		if err := s.PutReport(pair(d), r, projection.Origin{Revision: revision, At: at(second)}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, want time.Time) {
		t.Helper()
		if got := s.TakeAwaited("web"); !got.Equal(want) {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	want("nothing came", time.Time{})
	report("a", fleet.PhaseRunning, 2)
	report("b", fleet.PhaseRunning, 1) // stamps of several servers are not in order
	report("c", fleet.PhaseRunning, 3)
	want("three", at(1))
	want("it was taken", time.Time{})
	report("a", fleet.PhaseRunning, 4)
	want("the same again", time.Time{})
	report("a", fleet.PhaseFailed, 5)
	s.Await("web", at(2))
	want("one that is put back", at(2))
	report("a", fleet.PhaseRunning, 6)
	s.AwaitNothing()
	want("all are forgotten", time.Time{})
	s.DoubtReports(1)
	s.SpoilReport(pair("b"), projection.Origin{Revision: revision + 1}) // what another device had the server write
	want("what no device wrote", time.Time{})
	s.DropReport(pair("a"))
	want("a report that goes has no stamp", time.Time{})
	s.Await("nobody", at(1))
	if got := s.TakeAwaited("nobody"); !got.IsZero() {
		t.Errorf("a Deployment that is not there: %s", got)
	}
}
