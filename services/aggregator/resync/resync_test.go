package resync_test

import (
	"slices"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/resync"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestSchedule_AsksAgainWithGrowingPauses(t *testing.T) {
	s := resync.NewSchedule(resync.Config{First: 5 * time.Second, Most: 30 * time.Second})
	missing := []fleet.DeviceID{"d1"}
	var asked []int
	for second := range 120 {
		if len(s.Due(noon.Add(time.Duration(second)*time.Second), slices.Values(missing), 9)) > 0 {
			asked = append(asked, second)
		}
	}
	if want := []int{5, 15, 35, 65, 95}; !slices.Equal(asked, want) {
		t.Errorf("asked after %v seconds, want %v", asked, want)
	}
}

func TestSchedule_ForgetsWhoIsComplete(t *testing.T) {
	s := resync.NewSchedule(resync.Config{First: time.Second, Most: time.Minute})
	missing := []fleet.DeviceID{"d1"}
	s.Due(noon, slices.Values(missing), 9)
	s.Due(noon.Add(time.Second), slices.Values(missing), 9)
	s.Due(noon.Add(2*time.Second), slices.Values[[]fleet.DeviceID](nil), 9)
	if due := s.Due(noon.Add(3*time.Second), slices.Values(missing), 9); len(due) > 0 {
		t.Errorf("asked %v at once", due)
	}
	if due := s.Due(noon.Add(4*time.Second), slices.Values(missing), 9); len(due) != 1 {
		t.Errorf("asked %v after the first pause", due)
	}
}

func TestSchedule_AtMostN(t *testing.T) {
	s := resync.NewSchedule(resync.Config{First: time.Second, Most: time.Hour})
	missing := []fleet.DeviceID{"d1", "d2", "d3"}
	s.Due(noon, slices.Values(missing), 2)
	first := s.Due(noon.Add(time.Second), slices.Values(missing), 2)
	second := s.Due(noon.Add(time.Second), slices.Values(missing), 2)
	all := slices.Sorted(slices.Values(slices.Concat(first, second)))
	if len(first) != 2 || !slices.Equal(slices.Compact(all), missing) {
		t.Errorf("asked %v, then %v", first, second)
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
