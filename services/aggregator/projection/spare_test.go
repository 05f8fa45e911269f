package projection_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// invented is the i-th of the names that a device makes up, the last ones first.
func invented(i int) fleet.Pair {
	return fleet.Pair{Device: "evil", Deployment: fleet.DeploymentName(fmt.Sprintf("x-%07d", 9_999_999-i))}
}

// flood has one device report on n invented Deployments; it returns how many reports are kept.
func flood(tb testing.TB, s *projection.State, n int) (kept int) {
	tb.Helper()
	r := fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: fleet.Hash([]byte(values[0])), LastEventAt: "2026-03-01T12:00:00Z"}
	for i := range n {
		switch err := s.PutReport(invented(i), r, projection.Origin{Revision: uint64(i + 1), At: epoch}); {
		case err == nil:
			kept++
		case !errors.Is(err, projection.ErrUnclaimed):
			tb.Fatal(err)
		}
	}
	return kept
}

func TestUnclaimed_OneDeviceGrowsNothingAtWill(t *testing.T) {
	s := projection.New()
	if kept := flood(t, s, 3*projection.MaxUnclaimed); kept != projection.MaxUnclaimed || len(s.DeploymentNames()) != kept {
		t.Errorf("%d reports kept of %d deployments", kept, len(s.DeploymentNames()))
	}
	other := fleet.Pair{Device: "good", Deployment: "web"}
	if err := s.PutReport(other, fleet.Report{}, projection.Origin{Revision: 1, At: epoch}); err != nil {
		t.Errorf("of another device: %v", err)
	}
}

// A report that was not kept is missing when its pair is desired: the device is asked, and what it says then
// counts.
func TestUnclaimed_ReportIsAskedForOnceItsPairIsDesired(t *testing.T) {
	s := projection.New()
	s.PutInfo("evil", fleet.DeviceInfo{}, projection.Origin{Revision: 1, At: epoch})
	flood(t, s, 2*projection.MaxUnclaimed)
	p := invented(2*projection.MaxUnclaimed - 1)
	if s.Missing() {
		t.Error("the device is asked for what nobody desires")
	}
	if err := s.PutDesired(p, []byte(values[0]), epoch); err != nil {
		t.Fatal(err)
	}
	if d, _ := s.Deployment(p.Deployment); d.Aggregate.Pending != 1 || d.Owed != 1 || !s.Missing() {
		t.Errorf("%+v, asked: %t", d, s.Missing())
	}
	r := fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: fleet.Hash([]byte(values[0])), LastEventAt: "2026-03-01T12:00:00Z"}
	if err := s.PutReport(p, r, projection.Origin{Revision: 9, At: epoch}); err != nil {
		t.Fatal(err)
	}
	if d, _ := s.Deployment(p.Deployment); d.Aggregate.Running != 1 || s.Missing() {
		t.Errorf("%+v, asked: %t", d, s.Missing())
	}
	for i := range projection.MaxUnclaimed { // room for new ones
		s.DropReport(invented(i))
	}
	if kept := flood(t, s, projection.MaxUnclaimed); kept != projection.MaxUnclaimed {
		t.Errorf("%d reports kept after as many went", kept)
	}
}

// However few reports are kept, no key is lost: each can be removed, each orphan is one, and a desired pair
// has its report or asks for it. In the end nothing is left over.
func TestUnclaimed_LimitLosesNoKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, s := newModel(), projection.New()
		s.LimitUnclaimed(1)
		for _, o := range rapid.SliceOfN(rapid.Custom(genOp), 1, 80).Draw(t, "ops") {
			o.model(m)
			o.state(s)
			checkKeys(t, m, s)
		}
		for p := range m.reports {
			s.DropReport(p)
		}
		for p := range m.desired {
			s.DropDesired(p)
		}
		for _, d := range deviceIDs {
			s.DropDevice(d)
			s.DropInfo(d)
			s.DropHeartbeat(d)
		}
		for _, n := range deploymentNames {
			s.DropDeployment(n)
			s.DropApplied(n)
		}
		if err := s.CheckEmpty(); err != nil {
			t.Fatal(err)
		}
	})
}

func checkKeys(t *rapid.T, m *model, s *projection.State) {
	stand := map[fleet.Pair]uint64{}
	for _, d := range deviceIDs {
		for p, at := range s.ReportsOf(d) {
			stand[p] = at.Revision
		}
	}
	want := map[fleet.Pair]uint64{}
	for p, r := range m.reports {
		want[p] = r.at.Revision
	}
	if !maps.Equal(stand, want) {
		t.Fatalf("reports %v, want %v", stand, want)
	}
	beats := func(key string) bool { return strings.HasPrefix(key, "heartbeat.") } // only reports that are kept are signs of life
	if got, want := slices.DeleteFunc(s.Orphans(), beats), slices.DeleteFunc(m.orphans(), beats); !slices.Equal(got, want) {
		t.Fatalf("orphans %v, want %v", got, want)
	}
	if got, want := slices.Sorted(s.Leaving()), m.leaving(); !slices.Equal(got, want) {
		t.Fatalf("leaving %v, want %v", got, want)
	}
	for p := range m.desired {
		d, _ := s.Device(p.Device)
		got, ok := s.Pair(p)
		asks := slices.Contains(s.Askers(), p.Device) || d.State() != fleet.DeviceFresh || d.Registered && d.Resource.Deleting
		if !ok || !got.Reported && !asks {
			t.Fatalf("%s: %+v, and the device is not asked", p, got)
		}
	}
}

// BenchmarkFlood is what each report costs of a device that invents n Deployments.
func BenchmarkFlood(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 200_000} {
		b.Run(fmt.Sprintf("%dk", n/1000), func(b *testing.B) {
			for b.Loop() {
				flood(b, projection.New(), n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/report")
		})
	}
}
