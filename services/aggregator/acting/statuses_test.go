package acting

import (
	"errors"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/staleness"
	"harmony.dev/services/aggregator/view"
)

// desk is a statuses of one Deployment, with no connection to anybody.
func desk(t *testing.T, m fleet.MirrorDeployment, a *fleet.Applied) *statuses {
	t.Helper()
	v := view.New(time.Now, staleness.Config{}, time.Minute)
	v.Read(func(s *projection.State, _ view.Moment) {
		s.PutDeployment("web", m)
		if a != nil {
			s.PutApplied("web", *a, time.Time{})
		}
	})
	return newStatuses(NewHolder(Config{View: v, Tick: time.Second}), fleet.Sender{})
}

// The patcher went away between the choice of what is due and its turn.
func TestStatuses_WhatIsNotSentIsNotDelivered(t *testing.T) {
	d := desk(t, fleet.MirrorDeployment{UID: "u", Generation: 1}, nil)
	if o := d.deliver(t.Context(), "web"); o != silence {
		t.Errorf("%s", o)
	}
	if _, _, why := d.h.statuses.get(time.Now()); !errors.Is(why, errUnserved) {
		t.Errorf("because %v", why)
	}
}

// A report waits for a status only where there is a Deployment to write one to: the status of a later one tells nothing
// about how long reports take.
func TestStatuses_NothingIsAwaitedWhereNoStatusIsWritten(t *testing.T) {
	record := &fleet.Applied{UID: "u", Generation: 1}
	for name, c := range map[string]struct {
		mirror  fleet.MirrorDeployment
		applied *fleet.Applied
		want    bool
	}{
		"it is there":                {fleet.MirrorDeployment{UID: "u"}, record, true},
		"it is gone":                 {fleet.MirrorDeployment{Tombstone: &fleet.Tombstone{}}, record, false},
		"it is deleted, and not yet": {fleet.MirrorDeployment{UID: "u", Deleting: true}, record, true},
		"it is deleted, and cleared": {fleet.MirrorDeployment{UID: "u", Deleting: true}, nil, false},
	} {
		d := desk(t, c.mirror, c.applied)
		d.h.cfg.View.Read(func(s *projection.State, m view.Moment) {
			pair, at := fleet.Pair{Device: "pi", Deployment: "web"}, time.Now().Add(-time.Hour)
			if err := s.PutDesired(pair, []byte(`{}`), at); err != nil && !errors.Is(err, fleet.ErrInvalid) {
				t.Fatal(err)
			}
			report := fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: fleet.Hash([]byte(`{}`)), LastEventAt: "2026-03-01T12:00:00Z"}
			if err := s.PutReport(pair, report, projection.Origin{Revision: 1, At: at}); err != nil {
				t.Fatal(err)
			}
			m.Served = true
			if _, since, _ := d.look(s, m, "web"); since.IsZero() == c.want {
				t.Errorf("%s: it is told to wait since %s", name, since)
			}
			if left := s.TakeAwaited("web"); !left.IsZero() {
				t.Errorf("%s: it waits since %s for the next status", name, left)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	before := sent{uid: "u", observed: 3}
	record := &fleet.Applied{UID: "u", Generation: 3}
	for _, c := range []struct {
		name string
		dep  projection.Deployment
		m    view.Moment
		last sent
		want error
	}{
		{"a new Deployment", projection.Deployment{}, view.Moment{}, sent{}, nil},
		{"a new desired-state", projection.Deployment{}, view.Moment{DesiredYoung: true}, sent{}, errRecord},
		{"the record is gone", projection.Deployment{}, view.Moment{}, before, errRecord},
		{"the record is another's", projection.Deployment{Applied: &fleet.Applied{UID: "u0"}}, view.Moment{}, before, errRecord},
		{"the one before had a record", projection.Deployment{}, view.Moment{}, sent{uid: "u0", observed: 3}, nil},
		{"recorded", projection.Deployment{Applied: record}, view.Moment{DesiredYoung: true}, before, nil},
		{"a report is gone", projection.Deployment{Applied: record, Owed: 1}, view.Moment{StatesYoung: true}, before, errReports},
		{"a report is due", projection.Deployment{Applied: record, Owed: 1}, view.Moment{}, before, nil},
		{"all have reported", projection.Deployment{Applied: record}, view.Moment{StatesYoung: true}, before, nil},
	} {
		c.dep.UID = "u"
		if got := missing(c.dep, c.m, c.last); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestHolder_AWaitIsTroubleOnceItIsLong(t *testing.T) {
	h := NewHolder(Config{RebuildFor: time.Minute})
	h.acting.Store(true)
	behind := fleet.Errorf(fleet.CodeConflict, reasonObservedBehind, "generation 1 was applied") // the patcher's answer
	h.rebuild.blame(behind)
	h.statuses.set(0, time.Now())
	h.rebuild.set(2, time.Now().Add(-59*time.Second))
	if len(h.Waiting()) != 1 || h.StatusTrouble() != nil {
		t.Errorf("at first: %+v, %+v", h.Waiting(), h.StatusTrouble())
	}
	h.rebuild.set(0, time.Now())
	h.rebuild.blame(behind)
	h.rebuild.set(2, time.Now().Add(-61*time.Second))
	if len(h.Waiting()) != 0 || h.StatusTrouble() == nil {
		t.Errorf("at last: %+v, %+v", h.Waiting(), h.StatusTrouble())
	}
}
