package projection_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
)

// spell writes a value with everything that its pointers point to.
func spell(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// The projection is a fold of the last value of each key: kept up to date change by change, built from
// the final values in any order and with repetitions, or folded directly, it is the same.
func TestState_IsAFoldOfTheLastValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, incremental := newModel(), projection.New()
		for _, o := range rapid.SliceOfN(rapid.Custom(genOp), 1, 80).Draw(t, "ops") {
			o.model(m)
			o.state(incremental)
			checkCounts(t, m, incremental)
		}
		scratch := projection.New()
		m.feed(t, scratch)
		if a, b := dump(incremental), dump(scratch); a != b {
			t.Fatalf("incremental:\n%s\nfrom scratch:\n%s", a, b)
		}
	})
}

func checkCounts(t *rapid.T, m *model, s *projection.State) {
	devices, deployments := m.keys()
	if !slices.Equal(devices, s.DeviceNames()) || !slices.Equal(deployments, s.DeploymentNames()) {
		t.Fatalf("entities %v %v, want %v %v", s.DeviceNames(), s.DeploymentNames(), devices, deployments)
	}
	for _, name := range deployments {
		got, _ := s.Deployment(name)
		if want := m.aggregate(name); !reflect.DeepEqual(got.Aggregate, want) {
			t.Fatalf("%s: %s, want %s", name, spell(got.Aggregate), spell(want))
		}
		if err := got.Aggregate.Validate(); err != nil {
			t.Fatal(err)
		}
		if want := m.owed(name); got.Owed != want {
			t.Fatalf("%s: %d pairs owed, want %d", name, got.Owed, want)
		}
	}
	unseen := 0
	for _, id := range devices {
		got, _ := s.Device(id)
		if got.Registered && got.State() == fleet.DeviceNeverSeen {
			unseen++
		}
		at, known := m.lastSeen(id)
		if !got.LastSeen.Equal(at) || got.Known != known || got.Stale != (known && at.Before(m.cutoff)) {
			t.Fatalf("%s: last seen %s stale %t, want %s known %t", id, got.LastSeen, got.Stale, at, known)
		}
		if asking := slices.Contains(s.Askers(), id); asking != m.asking(id) {
			t.Fatalf("%s: asking %t, want %t", id, asking, m.asking(id))
		}
	}
	if s.NeverSeen() != unseen {
		t.Fatalf("%d devices never seen, want %d", s.NeverSeen(), unseen)
	}
	if got, want := s.Orphans(), m.orphans(); !slices.Equal(got, want) {
		t.Fatalf("orphans %v, want %v", got, want)
	}
	if got, want := slices.Sorted(s.Leaving()), m.leaving(); !slices.Equal(got, want) {
		t.Fatalf("leaving %v, want %v", got, want)
	}
}

// orphans names the keys that belong to nothing.
func (m *model) orphans() []string {
	out := []string{}
	for p := range m.reports {
		if _, desired := m.desired[p]; !desired {
			out = append(out, fleet.StateKey(p))
		}
	}
	for _, d := range deviceIDs {
		if r, inMirror := m.devices[d]; m.busy(d) || inMirror && r.value.Tombstone == nil {
			continue
		}
		if _, in := m.infos[d]; in {
			out = append(out, fleet.InfoKey(d))
		}
		if _, in := m.beats[d]; in && !m.fresh(d) {
			out = append(out, fleet.HeartbeatKey(d))
		}
	}
	slices.Sort(out)
	return out
}

func (m *model) leaving() []fleet.DeviceID {
	var out []fleet.DeviceID
	for d, r := range m.devices {
		buried := r.value.Tombstone != nil
		if !m.busy(d) && (!buried && r.value.Deleting || buried && !m.seen(d).IsZero()) {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

// busy reports whether anything is desired on the device.
func (m *model) busy(d fleet.DeviceID) bool {
	for p := range m.desired {
		if p.Device == d {
			return true
		}
	}
	return false
}

// owed counts the pairs of fresh devices that have no report.
func (m *model) owed(name fleet.DeploymentName) int {
	n := 0
	for p := range m.desired {
		r, reported := m.reports[p]
		if p.Deployment == name && m.fresh(p.Device) && (!reported || r.at.Revision <= m.doubted) {
			n++
		}
	}
	return n
}

func (m *model) fresh(d fleet.DeviceID) bool {
	at, known := m.lastSeen(d)
	return known && !at.Before(m.cutoff)
}

func (m *model) asking(d fleet.DeviceID) bool {
	r, inMirror := m.devices[d]
	i, hasInfo := m.infos[d]
	if !m.fresh(d) || inMirror && r.value.Deleting {
		return false
	}
	if !hasInfo || i.good != nil && i.goodAt.Revision <= m.oldInfos || inMirror && r.value.Tombstone != nil && !i.at.At.After(r.at.At) {
		return true
	}
	for p := range m.desired {
		if _, reported := m.reports[p]; p.Device == d && !reported {
			return true
		}
	}
	return false
}

// Whatever happened before, a State from which everything was removed is empty: nothing leaks.
func TestState_ForgetsWhatNoKeySupports(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := projection.New()
		for _, o := range rapid.SliceOfN(rapid.Custom(genOp), 1, 60).Draw(t, "ops") {
			o.state(s)
		}
		for _, d := range deviceIDs {
			s.DropDevice(d)
			s.DropInfo(d)
			s.DropHeartbeat(d)
			for _, n := range deploymentNames {
				s.DropDesired(fleet.Pair{Device: d, Deployment: n})
				s.DropReport(fleet.Pair{Device: d, Deployment: n})
			}
		}
		for _, n := range deploymentNames {
			s.DropDeployment(n)
			s.DropApplied(n)
		}
		if got, want := dump(s), dump(projection.New()); got != want {
			t.Fatalf("left over:\n%s", got)
		}
		if err := s.CheckEmpty(); err != nil {
			t.Fatal(err)
		}
	})
}

// What a bucket that lost much still has may be old: it counts on, and the device owes a newer report.
func TestDoubtReports_APairOwesUntilItsDeviceReportsAgain(t *testing.T) {
	s := projection.New()
	p := fleet.Pair{Device: "d1", Deployment: "web"}
	r := fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: fleet.Hash([]byte(values[0])), LastEventAt: "2026-03-01T12:00:00Z"}
	putDesired(s, p, values[0])
	s.PutDeployment(p.Deployment, fleet.MirrorDeployment{UID: "u1"})
	report := func(revision uint64) {
		t.Helper()
		if err := s.PutReport(p, r, projection.Origin{Revision: revision, At: epoch}); err != nil {
			t.Fatal(err)
		}
	}
	owed := func(want int) {
		t.Helper()
		if d, _ := s.Deployment(p.Deployment); d.Owed != want || d.Aggregate.Running != 1 {
			t.Errorf("%+v, want %d owed", d, want)
		}
	}
	report(7)
	owed(0)
	s.DoubtReports(7)
	owed(1)
	report(8)
	owed(0)
	s.DoubtReports(8)
	owed(1)
	s.DoubtReports(0)
	owed(0)
}
