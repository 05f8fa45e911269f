package staleness_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/services/aggregator/staleness"
)

// sim is a heartbeat bucket: the devices beat every interval ± 20 % while they and the server are up.
type sim struct {
	beats    []staleness.Beat
	next     []time.Time
	dead     []time.Time // zero: lives
	revision uint64
	newest   time.Time
}

// cut is a time in which no device reaches the server; afterwards each speaks at once, within a spread.
type cut struct {
	from, to time.Time
	spread   time.Duration
}

func run(t *rapid.T, n int, dead map[int]time.Time, c cut, until time.Time) *sim {
	s := &sim{beats: make([]staleness.Beat, n), next: make([]time.Time, n), dead: make([]time.Time, n)}
	start := noon
	for i := range n {
		s.next[i] = start.Add(time.Duration(rapid.IntRange(0, 30000).Draw(t, "phase")) * time.Millisecond)
		s.dead[i] = dead[i]
	}
	for {
		i := s.first()
		at := s.next[i]
		if at.After(until) {
			return s
		}
		s.next[i] = at.Add(time.Duration(rapid.IntRange(24000, 36000).Draw(t, "interval")) * time.Millisecond)
		if !c.from.IsZero() && at.After(c.from) && at.Before(c.to) {
			s.next[i] = c.to.Add(time.Duration(rapid.Int64Range(0, int64(c.spread)).Draw(t, "reconnect")))
			continue
		}
		if !s.dead[i].IsZero() && at.After(s.dead[i]) {
			s.next[i] = until.Add(time.Hour)
			continue
		}
		s.revision++
		s.beats[i] = staleness.Beat{Revision: s.revision, At: at}
		s.newest = at
	}
}

func (s *sim) first() int {
	first := 0
	for i := range s.next {
		if s.next[i].Before(s.next[first]) {
			first = i
		}
	}
	return first
}

// start is what an aggregator does that comes into view of the bucket at this time.
func (s *sim) start(at time.Time) staleness.Verdict {
	j := staleness.NewJudge(config)
	if g, ok := staleness.Unseen(config, s.newest, append([]staleness.Beat(nil), s.beats...)); ok {
		j.Spare(g)
	}
	return j.Look(at, staleness.Fleet{Newest: s.newest, Known: len(s.beats)})
}

// Devices that died while others lived are stale as soon as the stamps say so, at the first look.
func TestUnseen_TheDeadAmongTheLivingAreStaleAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "devices")
		now := noon.Add(10 * time.Minute)
		dead := map[int]time.Time{}
		for i := range rapid.IntRange(1, n-1).Draw(t, "dead") {
			dead[i] = now.Add(-time.Duration(rapid.IntRange(130, 500).Draw(t, "ago")) * time.Second)
		}
		s := run(t, n, dead, cut{}, now)
		v := s.start(now)
		for i, b := range s.beats {
			if _, died := dead[i]; stale(v, b.At) != died {
				t.Fatalf("device %d of %d, last seen %s ago: stale %t, died %t; %+v", i, n, now.Sub(b.At), stale(v, b.At), died, v)
			}
		}
	})
}

// After everybody was cut off for two minutes or more, nobody is stale who was not before, however few are back yet.
func TestUnseen_ASilenceThatEndedUnseenIsNotDeath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "devices")
		c := cut{from: noon.Add(5 * time.Minute), spread: 10 * time.Second}
		c.to = c.from.Add(time.Duration(rapid.IntRange(120, 1200).Draw(t, "cut")) * time.Second)
		now := c.to.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "look")) * time.Second)
		s := run(t, n, nil, c, now)
		v := s.start(now)
		for i, b := range s.beats {
			if stale(v, b.At) {
				t.Fatalf("device %d of %d, last seen %s ago, is stale %s after a cut of %s; %+v", i, n, now.Sub(b.At), now.Sub(c.to), c.to.Sub(c.from), v)
			}
		}
	})
}

func TestUnseen_NoBeatsNoGap(t *testing.T) {
	if g, ok := staleness.Unseen(config, noon, nil); ok {
		t.Errorf("found %+v", g)
	}
}

// The agents send info and reports when they are back, before their next heartbeat.
func TestUnseen_OtherMessagesCameFirst(t *testing.T) {
	beats := []staleness.Beat{{Revision: 7, At: noon}, {Revision: 8, At: noon.Add(time.Second)}}
	newest := noon.Add(10 * time.Minute)
	g, ok := staleness.Unseen(config, newest, beats)
	if !ok || !g.Before.Equal(noon.Add(time.Second)) || !g.After.Equal(newest) {
		t.Errorf("%+v %t", g, ok)
	}
}
