package garbage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/garbage"
	"harmony.dev/services/aggregator/projection"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var d1web = fleet.Pair{Device: "d1", Deployment: "web"}

func at(revision uint64, after time.Duration) projection.Origin {
	return projection.Origin{Revision: revision, At: noon.Add(after)}
}

func report(t *testing.T) fleet.Report {
	t.Helper()
	r := fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: fleet.Hash(nil), LastEventAt: "2026-03-01T12:00:00Z"}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	return r
}

// full is a state with every kind of key of device d1, an hour after noon.
func full(t *testing.T, mirror fleet.MirrorDevice, mirrorAt time.Duration) *projection.State {
	t.Helper()
	s := projection.New()
	s.PutDevice("d1", mirror, at(7, mirrorAt))
	s.PutInfo("d1", fleet.DeviceInfo{}, at(1, 0))
	s.PutReport(d1web, report(t), at(2, time.Minute))
	s.PutHeartbeat("d1", at(3, 2*time.Minute))
	return s
}

func names(keys []garbage.Key) string {
	var out []string
	for _, k := range keys {
		out = append(out, k.Bucket+"/"+k.Key)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

const allKeys = "device-heartbeat/heartbeat.d1 device-info/info.d1 device-state/state.d1.web"

func TestPlan_DeviceBeingDeleted(t *testing.T) {
	deleting := fleet.MirrorDevice{UID: "u1", Deleting: true}
	now := noon.Add(time.Hour)

	s := full(t, deleting, 0)
	p := garbage.NewCollector(time.Hour).Plan(now, s, true, 100)
	if len(p.Departures) != 1 || p.Departures[0].UID != "u1" || names(p.Departures[0].Keys) != allKeys || len(p.Deletes) > 0 {
		t.Errorf("%+v", p)
	}
	for _, k := range p.Departures[0].Keys {
		if want := map[string]uint64{"info.d1": 1, "state.d1.web": 2, "heartbeat.d1": 3}[k.Key]; k.Revision != want {
			t.Errorf("%s at revision %d, want %d", k.Key, k.Revision, want)
		}
	}

	for name, spoil := range map[string]func(*projection.State){
		"something is desired on it": func(s *projection.State) { s.PutForeign(d1web, time.Time{}) },
		"the brake holds":            func(s *projection.State) { s.SetHold(true, &fleet.Hold{ID: "h"}) },
		"a hold that cannot be read": func(s *projection.State) { s.SetHold(true, nil) },
	} {
		s := full(t, deleting, 0)
		spoil(s)
		if p := garbage.NewCollector(time.Hour).Plan(now, s, true, 100); len(p.Departures)+len(p.Deletes) > 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if p := garbage.NewCollector(time.Hour).Plan(now, full(t, deleting, 0), false, 100); len(p.Departures) > 0 {
		t.Errorf("without a whole mirror: %+v", p)
	}
}

func TestPlan_DeviceWithoutKeysDeparts(t *testing.T) {
	s := projection.New()
	s.PutDevice("d1", fleet.MirrorDevice{UID: "u1", Deleting: true}, at(7, 0))
	p := garbage.NewCollector(time.Hour).Plan(noon, s, true, 100)
	if len(p.Departures) != 1 || len(p.Departures[0].Keys) > 0 {
		t.Errorf("%+v", p)
	}
}

func TestPlan_TombstoneTakesWhatIsOlder(t *testing.T) {
	buried := fleet.MirrorDevice{Tombstone: &fleet.Tombstone{UID: "u1", Cause: fleet.TombstoneDeleted}}
	for after, want := range map[time.Duration]string{
		time.Hour:        allKeys,
		90 * time.Second: "device-info/info.d1 device-state/state.d1.web",
		-time.Second:     "",
	} {
		p := garbage.NewCollector(time.Hour).Plan(noon.Add(time.Hour), full(t, buried, after), true, 100)
		if got := names(p.Deletes); got != want || len(p.Departures) > 0 {
			t.Errorf("tombstone %s after the info: %q, want %q", after, got, want)
		}
	}
}

func TestPlan_RegisteredDeviceKeepsItsKeys(t *testing.T) {
	for _, mirror := range []fleet.MirrorDevice{{UID: "u1"}, {UID: "u1", Invalid: "no finalizer yet"}} {
		s := full(t, mirror, 0)
		if err := s.PutDesired(d1web, []byte(`{"uid":"u","score":{"type":"x"}}`), time.Time{}); err != nil {
			t.Fatal(err)
		}
		c := garbage.NewCollector(time.Minute)
		for second := range 1000 {
			if p := c.Plan(noon.Add(time.Duration(second)*time.Second), s, true, 100); len(p.Deletes)+len(p.Departures) > 0 {
				t.Fatalf("%+v: %+v", mirror, p)
			}
		}
	}
}

// run looks once a second and returns when each key was first to go, in seconds.
func run(c *garbage.Collector, s *projection.State, from, to int) map[string]int {
	first := map[string]int{}
	for second := from; second < to; second++ {
		for _, k := range c.Plan(noon.Add(time.Duration(second)*time.Second), s, true, 100).Deletes {
			if _, known := first[k.Key]; !known {
				first[k.Key] = second
			}
		}
	}
	return first
}

func TestPlan_OrphansGoAfterTheirTime(t *testing.T) {
	s := full(t, fleet.MirrorDevice{UID: "u1"}, 0) // registered; the report is of no desired pair
	s.PutInfo("d2", fleet.DeviceInfo{}, at(4, 0))  // no resource
	s.PutHeartbeat("d2", at(5, 0))
	s.SetCutoff(noon) // it is alive

	c := garbage.NewCollector(time.Minute)
	got := run(c, s, 0, 100)
	if len(got) != 2 || got["state.d1.web"] != 60 || got["info.d2"] != 60 {
		t.Errorf("%v", got)
	}
	s.SetCutoff(noon.Add(time.Hour)) // now d2 is silent
	if got := run(c, s, 100, 200); got["heartbeat.d2"] != 160 {
		t.Errorf("%v", got)
	}
}

func TestPlan_OnlyTimeInViewCounts(t *testing.T) {
	s := full(t, fleet.MirrorDevice{UID: "u1"}, 0)
	c := garbage.NewCollector(time.Minute)
	run(c, s, 0, 50)
	c.Pause()
	if got := run(c, s, 5000, 5020); got["state.d1.web"] != 5011 {
		t.Errorf("%v", got)
	}
}

func TestPlan_OrphanThatIsClaimedAgainStartsAnew(t *testing.T) {
	s := full(t, fleet.MirrorDevice{UID: "u1"}, 0)
	c := garbage.NewCollector(time.Minute)
	run(c, s, 0, 50)
	s.PutForeign(d1web, time.Time{})
	run(c, s, 50, 55)
	s.DropDesired(d1web)
	if got := run(c, s, 55, 200); got["state.d1.web"] != 115 {
		t.Errorf("%v", got)
	}
}

// Orphans that wait for their time cost nothing at each tick, however many they are.
func TestPlan_LooksOnlyAtThoseWhoseTimeIsOver(t *testing.T) {
	s := projection.New()
	for i := range 10_000 {
		s.PutReport(fleet.Pair{Device: fleet.DeviceID(fmt.Sprintf("d%d", i)), Deployment: "web"}, report(t), at(uint64(i+1), 0))
	}
	c, now := garbage.NewCollector(time.Hour), noon
	c.Plan(now, s, true, 500)
	allocs := testing.AllocsPerRun(10, func() {
		now = now.Add(time.Second)
		c.Plan(now, s, true, 500)
	})
	if allocs > 100 {
		t.Errorf("%v allocations for a plan of nothing", allocs)
	}
}

// Orphans that cannot be removed, because their device writes them again and again, are not in the way of others.
func TestPlan_OrphanThatStaysWaitsAnew(t *testing.T) {
	s := projection.New()
	for i := range 100 {
		s.PutReport(fleet.Pair{Device: "evil", Deployment: fleet.DeploymentName(fmt.Sprintf("x%d", i))}, report(t), at(uint64(i+1), 0))
	}
	s.PutReport(d1web, report(t), at(1000, 0))
	if got := run(garbage.NewCollector(time.Minute), s, 0, 100); len(got) != 101 || got["state.d1.web"] != 61 {
		t.Errorf("%d keys, d1's after %d seconds", len(got), got["state.d1.web"])
	}
	s.PutReport(d1web, report(t), at(1001, 0))
	c, times := garbage.NewCollector(time.Minute), 0
	for second := range 200 {
		for _, k := range c.Plan(noon.Add(time.Duration(second)*time.Second), s, true, 1000).Deletes {
			if k.Key == "state.d1.web" && k.Revision == 1001 {
				times++
			}
		}
	}
	if times != 3 {
		t.Errorf("tried %d times in 200 seconds", times)
	}
}

func TestPlan_NextCollectorStartsAnew(t *testing.T) {
	s := full(t, fleet.MirrorDevice{UID: "u1"}, 0)
	run(garbage.NewCollector(time.Minute), s, 0, 50)
	if got := run(garbage.NewCollector(time.Minute), s, 50, 200); got["state.d1.web"] != 110 {
		t.Errorf("%v", got)
	}
}

// BenchmarkPlan is how long the projection is locked at each tick while n reports are orphans, as they are
// for an hour after a Deployment on n devices was deleted. After "due" all of them may go.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 300_000} {
		s := projection.New()
		r := fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: fleet.Hash(nil), LastEventAt: "2026-03-01T12:00:00Z"}
		for i := range n {
			s.PutReport(fleet.Pair{Device: fleet.DeviceID(fmt.Sprintf("device-%07d", i)), Deployment: "web"}, r, at(uint64(i+1), 0))
		}
		for name, after := range map[string]time.Duration{"waiting": 1 << 62, "due": time.Second} {
			b.Run(fmt.Sprintf("%s/%dk", name, n/1000), func(b *testing.B) {
				c := garbage.NewCollector(after)
				now := noon
				for b.Loop() {
					c.Plan(now, s, true, 500)
					now = now.Add(time.Second)
				}
			})
		}
	}
}
