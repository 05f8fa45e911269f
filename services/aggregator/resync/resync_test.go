package resync_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/resync"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// missing is a fleet whose devices are alive and have not sent their info.
func missing(n int) *projection.State {
	s := projection.New()
	for i := range n {
		s.PutHeartbeat(device(i), origin)
	}
	return s
}

var origin = projection.Origin{Revision: 1, At: noon}

func device(i int) fleet.DeviceID { return fleet.DeviceID(fmt.Sprintf("device-%07d", i)) }

func TestSchedule_AsksAgainWithGrowingPauses(t *testing.T) {
	s, p := resync.NewSchedule(resync.Config{First: 5 * time.Second, Most: 30 * time.Second}), missing(1)
	var asked []int
	for second := range 120 {
		if len(s.Due(noon.Add(time.Duration(second)*time.Second), p, 9)) > 0 {
			asked = append(asked, second)
		}
	}
	if want := []int{5, 15, 35, 65, 95}; !slices.Equal(asked, want) {
		t.Errorf("asked after %v seconds, want %v", asked, want)
	}
}

func TestSchedule_ForgetsWhoIsComplete(t *testing.T) {
	for _, look := range []bool{true, false} { // while nothing is missing
		s, p := resync.NewSchedule(resync.Config{First: time.Second, Most: time.Minute}), missing(1)
		s.Due(noon, p, 9)
		s.Due(noon.Add(time.Second), p, 9)
		p.PutInfo(device(0), fleet.DeviceInfo{}, origin)
		if look {
			s.Due(noon.Add(2*time.Second), p, 9)
		}
		p.DropInfo(device(0))
		if due := s.Due(noon.Add(3*time.Second), p, 9); len(due) > 0 {
			t.Errorf("asked %v at once", due)
		}
		if due := s.Due(noon.Add(4*time.Second), p, 9); len(due) != 1 {
			t.Errorf("asked %v after the first pause", due)
		}
		if due := s.Due(noon.Add(5*time.Second), p, 9); len(due) > 0 {
			t.Errorf("asked %v by what was before", due)
		}
	}
}

func TestSchedule_AtMostN(t *testing.T) {
	s, p := resync.NewSchedule(resync.Config{First: time.Second, Most: time.Hour}), missing(3)
	s.Due(noon, p, 2)
	first := s.Due(noon.Add(time.Second), p, 2)
	second := s.Due(noon.Add(time.Second), p, 2)
	third := s.Due(noon.Add(time.Second), p, 2)
	all := slices.Sorted(slices.Values(slices.Concat(first, second, third)))
	if len(first) != 2 || len(second) != 1 || !slices.Equal(all, []fleet.DeviceID{device(0), device(1), device(2)}) {
		t.Errorf("asked %v, then %v, then %v", first, second, third)
	}
}

// The requests of an earlier holder count for nothing.
func TestSchedule_NextHolderAsksAnew(t *testing.T) {
	p := missing(3)
	for range 2 {
		p.AskAnew()
		s := resync.NewSchedule(resync.Config{First: time.Second, Most: time.Hour})
		s.Due(noon, p, 9)
		if due := s.Due(noon.Add(time.Second), p, 2); len(due) != 2 {
			t.Errorf("asked %v", due)
		}
	}
}

// BenchmarkDue is how long the projection is locked at each tick while n devices ask.
func BenchmarkDue(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 300_000} {
		b.Run(fmt.Sprintf("%dk", n/1000), func(b *testing.B) {
			p := missing(n)
			s := resync.NewSchedule(resync.Config{First: 5 * time.Second, Most: 10 * time.Minute})
			now := noon
			for b.Loop() {
				s.Due(now, p, 50)
				now = now.Add(time.Second)
			}
		})
	}
}

func TestAnnouncer(t *testing.T) {
	old, young := noon.Add(-time.Hour), noon.Add(-time.Second)
	for _, c := range []struct {
		name  string
		notes []time.Time
		want  bool
	}{
		{"an old bucket", []time.Time{old}, false},
		{"read again", []time.Time{old, old}, false},
		{"created anew", []time.Time{old, young}, true},
		{"rolled back", []time.Time{old, old.Add(-time.Hour)}, true},
		{"young at first sight", []time.Time{young}, false},
	} {
		a := resync.NewAnnouncer()
		for _, created := range c.notes {
			a.Note(noon, "device-state", created)
		}
		if got := a.Due(noon, false); got != c.want {
			t.Errorf("%s: due %t, want %t", c.name, got, c.want)
		}
		if a.Due(noon.Add(time.Hour), true) {
			t.Errorf("%s: due an hour later", c.name)
		}
		a.Done()
		a.Note(noon, "device-state", c.notes[len(c.notes)-1])
		if a.Due(noon, true) {
			t.Errorf("%s: due again", c.name)
		}
	}
}

func TestAnnouncer_YoungBucketCountsOnlyWhenSomethingIsMissing(t *testing.T) {
	a := resync.NewAnnouncer()
	a.Note(noon, "device-info", noon.Add(-time.Second))
	if a.Due(noon, false) || !a.Due(noon, true) {
		t.Error("want it due exactly when something is missing")
	}
}

func TestAnnouncer_EmptiedBucketCounts(t *testing.T) {
	a := resync.NewAnnouncer()
	a.Note(noon, "device-state", noon.Add(-time.Hour))
	a.Lost(noon)
	if !a.Due(noon, false) || a.Due(noon.Add(time.Hour), false) {
		t.Error("want it due at once, and not for ever")
	}
	a.Done()
	a.Note(noon, "device-state", noon.Add(-time.Hour))
	if a.Due(noon, true) {
		t.Error("due again")
	}
}
