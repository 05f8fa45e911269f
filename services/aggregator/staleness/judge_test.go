package staleness_test

import (
	"testing"
	"time"

	"harmony.dev/services/aggregator/staleness"
)

var (
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	config = staleness.Config{
		Interval:     staleness.DefaultInterval,
		StaleAfter:   staleness.DefaultStaleAfter,
		SilenceAfter: staleness.DefaultSilenceAfter,
		Few:          staleness.DefaultFew,
	}
)

// look looks once a second for so long, at a fleet that does not speak, and returns the last verdict.
func look(j *staleness.Judge, from time.Time, d time.Duration, f staleness.Fleet) (v staleness.Verdict, at time.Time) {
	at = from
	for ; !at.After(from.Add(d)); at = at.Add(time.Second) {
		v = j.Look(at, f)
	}
	return v, at.Add(-time.Second)
}

func stale(v staleness.Verdict, lastSeen time.Time) bool { return lastSeen.Before(v.Cutoff) }

func TestLook_ReferenceIsNowWhileSomebodySpeaks(t *testing.T) {
	v := staleness.NewJudge(config).Look(noon, staleness.Fleet{Newest: noon.Add(-10 * time.Second), Known: 100})
	if !v.Reference.Equal(noon) || v.Hushed || v.Silent || v.Undecided {
		t.Errorf("%+v", v)
	}
	for age, want := range map[time.Duration]bool{
		90 * time.Second:                      false, // not longer than StaleAfter
		90*time.Second + time.Nanosecond:      true,
		-time.Hour:                            false, // a server whose clock was wrong for a while
		56 * 365 * 24 * time.Hour:             true,
		89*time.Second + 999*time.Millisecond: false,
	} {
		if got := stale(v, noon.Add(-age)); got != want {
			t.Errorf("silent for %s: stale %t, want %t", age, got, want)
		}
	}
}

func TestLook_ReferenceStaysNearTheNewestInAMassSilence(t *testing.T) {
	j := staleness.NewJudge(config)
	f := staleness.Fleet{Newest: noon, Known: 100}
	v, _ := look(j, noon, 5*time.Minute-time.Second, f)
	if want := noon.Add(45 * time.Second); !v.Reference.Equal(want) || !v.Hushed || v.Silent {
		t.Errorf("%+v, want the reference %s", v, want)
	}
	if stale(v, noon.Add(-36*time.Second)) {
		t.Error("a device that spoke one slow interval before the silence is stale")
	}
	if !stale(v, noon.Add(-2*time.Minute)) {
		t.Error("a device that was stale before the silence is not")
	}
}

func TestLook_PlainNowAfterFiveMinutesOfSyncedSilence(t *testing.T) {
	j := staleness.NewJudge(config)
	v, at := look(j, noon, 5*time.Minute, staleness.Fleet{Newest: noon, Known: 100})
	if !v.Silent || !v.Reference.Equal(at) || !stale(v, noon) {
		t.Errorf("%+v at %s", v, at)
	}
}

func TestLook_SmallFleetsAreSilentAfterStaleAfter(t *testing.T) {
	for known, want := range map[int]bool{1: true, 4: true, 5: false} {
		v, _ := look(staleness.NewJudge(config), noon, 91*time.Second, staleness.Fleet{Newest: noon, Known: known})
		if v.Silent != want || stale(v, noon) != want {
			t.Errorf("%d devices: %+v, want silent %t", known, v, want)
		}
	}
}

func TestLook_TimeOutOfViewIsNoSilence(t *testing.T) {
	j := staleness.NewJudge(config)
	f := staleness.Fleet{Newest: noon, Known: 100}
	_, at := look(j, noon, 4*time.Minute, f)
	j.Pause()
	v, at := look(j, at.Add(time.Hour), 50*time.Second, f)
	if v.Silent {
		t.Errorf("silent %s after the sources came back: %+v", at, v)
	}
	if v, _ = look(j, at, 10*time.Second, f); !v.Silent {
		t.Errorf("not silent after 5 minutes in view: %+v", v)
	}
}

func TestLook_AStoppedProcessDidNotListen(t *testing.T) {
	j := staleness.NewJudge(config)
	f := staleness.Fleet{Newest: noon, Known: 100}
	j.Look(noon, f)
	if v := j.Look(noon.Add(time.Hour), f); v.Silent {
		t.Errorf("one look counted as an hour: %+v", v)
	}
}

func TestLook_EndOfASilenceSparesWhoWasNotStale(t *testing.T) {
	j := staleness.NewJudge(config)
	_, at := look(j, noon, 4*time.Minute, staleness.Fleet{Newest: noon, Known: 100})
	back := at.Add(time.Second)
	v, at := look(j, back, 0, staleness.Fleet{Newest: back, Known: 100})
	if !v.Reference.Equal(at) {
		t.Errorf("reference %s, want %s", v.Reference, at)
	}
	wasFresh, wasStale := noon.Add(-20*time.Second), noon.Add(-2*time.Minute)
	if stale(v, wasFresh) || !stale(v, wasStale) {
		t.Errorf("just after the silence: %+v", v)
	}
	speaking := staleness.Fleet{Known: 100}
	for ; at.Before(back.Add(90 * time.Second)); at = at.Add(time.Second) {
		speaking.Newest = at
		v = j.Look(at, speaking)
	}
	if stale(v, wasFresh) {
		t.Error("a spared device is stale before StaleAfter has passed")
	}
	speaking.Newest = back.Add(91 * time.Second)
	if v = j.Look(speaking.Newest, speaking); !stale(v, wasFresh) {
		t.Error("a spared device that did not speak is not stale after StaleAfter")
	}
}

func TestLook_EndOfALongSilenceSparesNobodyWhoIsStale(t *testing.T) {
	j := staleness.NewJudge(config)
	_, at := look(j, noon, 6*time.Minute, staleness.Fleet{Newest: noon, Known: 100})
	back := at.Add(time.Second)
	v := j.Look(back, staleness.Fleet{Newest: back, Known: 100})
	if v.Silent || v.Hushed || !stale(v, noon) || stale(v, back) {
		t.Errorf("%+v", v)
	}
}

func TestLook_TwoSilencesInARow(t *testing.T) {
	j := staleness.NewJudge(config)
	wasFresh, wasStale := noon, noon.Add(-2*time.Minute)
	at := noon
	f := staleness.Fleet{Newest: noon, Known: 100}
	var v staleness.Verdict
	for range 5 {
		_, at = look(j, at, 2*time.Minute, f)
		f.Newest = at.Add(time.Second)
		v = j.Look(f.Newest, f)
	}
	if stale(v, wasFresh) || !stale(v, wasStale) {
		t.Errorf("after five silences with one message after each: %+v", v)
	}
}

func TestLook_UndecidedUntilSomebodySpeaksOrTheFleetIsSilent(t *testing.T) {
	old := staleness.Fleet{Newest: noon.Add(-time.Hour), Known: 100}

	j := staleness.NewJudge(config)
	v, at := look(j, noon, 4*time.Minute, old)
	if !v.Undecided {
		t.Errorf("decided by stamps an hour old: %+v", v)
	}
	if v := j.Look(at.Add(time.Second), staleness.Fleet{Newest: at, Known: 100}); v.Undecided {
		t.Errorf("undecided although somebody spoke: %+v", v)
	}

	j = staleness.NewJudge(config)
	if v, _ = look(j, noon, 5*time.Minute, old); v.Undecided || !v.Silent {
		t.Errorf("undecided after 5 minutes: %+v", v)
	}
}

func TestLook_AnEmptyFleetIsNotSilent(t *testing.T) {
	if v, _ := look(staleness.NewJudge(config), noon, time.Hour, staleness.Fleet{}); v.Silent || v.Hushed || v.Undecided || !v.Cutoff.IsZero() {
		t.Errorf("%+v", v)
	}
}

// The clock that the judge is given and the one that stamped the heartbeats differ, as the servers of a
// cluster do. The judgement goes on, and is off by the difference at most.
func TestLook_ClocksThatDiffer(t *testing.T) {
	for _, skew := range []time.Duration{-300 * time.Second, 0, 44 * time.Second, time.Minute, time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			j := staleness.NewJudge(config)
			died := noon
			latest := config.StaleAfter + max(-skew, 0) + 2*config.Interval
			var since time.Duration
			for at := noon; at.Before(noon.Add(10 * time.Minute)); at = at.Add(time.Second) {
				f := staleness.Fleet{Newest: at.Truncate(20 * time.Second), Known: 100} // one speaks now and then
				v := j.Look(at.Add(skew), f)
				if stale(v, at.Add(-36*time.Second)) {
					t.Fatalf("a living device is stale: %+v", v)
				}
				if v.Undecided && at.After(noon.Add(time.Minute)) {
					t.Fatalf("undecided although somebody speaks: %+v", v)
				}
				switch is := stale(v, died); {
				case is && since == 0:
					since = at.Sub(died)
				case !is && since != 0:
					t.Fatalf("a dead device is fresh again after %s: %+v", at.Sub(died), v)
				}
			}
			if since == 0 || since > latest {
				t.Errorf("a dead device is stale after %s, want at most %s", since, latest)
			}
		})
	}
}

// A server whose clock is ahead takes over: nobody was silent, and nobody is called dead.
func TestLook_StampsLeapForward(t *testing.T) {
	j := staleness.NewJudge(config)
	look(j, noon, 0, staleness.Fleet{Newest: noon, Known: 100})
	leap := noon.Add(10 * time.Minute)
	v := j.Look(leap, staleness.Fleet{Newest: leap, Known: 100})
	if stale(v, noon.Add(-36*time.Second)) {
		t.Errorf("%+v", v)
	}
}

// The devices of a silent fleet come back one after the other. Until each had time to, those that are still
// stale are part of the incident.
func TestLook_IncidentLastsUntilEverybodyHadTimeToSpeak(t *testing.T) {
	j := staleness.NewJudge(config)
	v, at := look(j, noon, 6*time.Minute, staleness.Fleet{Newest: noon, Known: 100})
	if !v.Silent || v.Ending || !v.Incident() {
		t.Fatalf("silent for 6 minutes: %+v", v)
	}
	back := at.Add(time.Second)
	for at = back; !at.After(back.Add(2 * time.Minute)); at = at.Add(time.Second) {
		v = j.Look(at, staleness.Fleet{Newest: at, Known: 100})
		if want := at.Sub(back) <= config.StaleAfter; v.Silent || v.Ending != want || v.Incident() != want {
			t.Fatalf("%s after the end: %+v, want ending %t", at.Sub(back), v, want)
		}
		if !stale(v, noon) {
			t.Fatalf("%s after the end, who has not spoken is fresh", at.Sub(back))
		}
	}
}

func TestLook_NoIncidentAfterASilenceThatDidNotCount(t *testing.T) {
	j := staleness.NewJudge(config)
	_, at := look(j, noon, 4*time.Minute, staleness.Fleet{Newest: noon, Known: 100})
	if v := j.Look(at.Add(time.Second), staleness.Fleet{Newest: at.Add(time.Second), Known: 100}); v.Incident() {
		t.Errorf("%+v", v)
	}
}
