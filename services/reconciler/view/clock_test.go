package view

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/reconciler/plan"
)

// timed is a view in step with two buckets that are an hour old, each stamped by a clock that the test sets. A delete
// waits for a quiet mirror: of a key whose Deployment and Device are not there.
type timed struct {
	*View
	t     *testing.T
	ahead map[*source]time.Duration // of the own clock
	seq   uint64
}

// newTimed returns a view that has read what was stored so long ago, and a message that was stored since.
func newTimed(t *testing.T, ago time.Duration) *timed {
	v := &timed{View: unread(), t: t, seq: 100, ahead: map[*source]time.Duration{}}
	for _, s := range []*source{v.mirror, v.desired} {
		v.ahead[s] = -20 * time.Hour
		s.Begin(kv.Pass{Number: 1, Barrier: 100, Created: v.at(s).Add(-time.Hour)})
	}
	for i := range 3 {
		v.say(v.mirror, fleet.KeyEpoch, `{"term":"t"}`, ago/time.Duration(i+1))
	}
	v.say(v.mirror, fleet.KeySynced, fmt.Sprintf(`{"epoch":%d}`, v.seq), ago)
	v.mirror.Synced(kv.Pass{})
	v.say(v.desired, "d1.web", "{}", ago)
	v.desired.Synced(kv.Pass{})
	v.renew(v.mirror)
	v.renew(v.desired)
	return v
}

func (v *timed) at(s *source) time.Time { return time.Now().Add(v.ahead[s]) }

// say brings a message that was stored so long ago.
func (v *timed) say(s *source, key, value string, ago time.Duration) {
	v.seq++
	s.Apply(kv.Message{
		Key: key, Value: []byte(value), Revision: v.seq, Time: v.at(s).Add(-ago),
		Header: nats.Header{fleet.HeaderEpoch: []string{"7"}},
	})
}

// renew brings the renewal of a lease: a message that changes nothing but the time.
func (v *timed) renew(s *source) { v.say(s, fleet.KeyLease, `{"term":"t"}`, 0) }

// set sets the clocks of all servers on.
func (v *timed) set(by time.Duration) {
	for s := range v.ahead {
		v.ahead[s] += by
	}
}

func (v *timed) waits(want bool) {
	v.t.Helper()
	p, _ := v.Plan()
	if got := len(p.Waiting) > 0; got != want {
		v.t.Errorf("the delete waits: %t, want %t (%+v)", got, want, p)
	}
}

// aged checks how long the streams have been what they are.
func (v *timed) aged(mirror, desired time.Duration) {
	v.t.Helper()
	v.Do(func(_ *plan.State, n Now) {
		if m, d := n.Time.Sub(n.Mirror), n.Time.Sub(n.Desired); m != mirror || d != desired {
			v.t.Errorf("the mirror is %s old and desired-state %s, want %s and %s", m, d, mirror, desired)
		}
	})
}

// lose has the mirror found set back, and a value of desired-state gone.
func (v *timed) lose() {
	created := v.mirror.pass.Created
	v.mirror.Begin(kv.Pass{Number: 2, Barrier: 90, Created: created, NewIncarnation: true})
	v.mirror.Synced(kv.Pass{})
	v.renew(v.mirror) // somebody stands behind it
	v.desired.Apply(kv.Message{Key: "d1.web", Op: kv.Swept})
}

func TestClock_TimeThatJumpsIsNoQuiet(t *testing.T) {
	for _, c := range []struct {
		name string
		jump time.Duration
		says func(v *View) *source
		left time.Duration // of the wait, which is half over
	}{
		{"none", 0, func(v *View) *source { return v.mirror }, 5 * time.Second},
		{"a little one", leap, func(v *View) *source { return v.mirror }, 5*time.Second - leap},
		{"told by the mirror", time.Hour, func(v *View) *source { return v.mirror }, 10 * time.Second},
		{"told by desired-state", time.Hour, func(v *View) *source { return v.desired }, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newTimed(t, 0)
				time.Sleep(5 * time.Second)
				v.waits(true)
				v.set(c.jump)
				v.renew(c.says(v.View))
				time.Sleep(c.left - time.Millisecond)
				v.waits(true)
				time.Sleep(time.Millisecond)
				v.waits(false)
			})
		})
	}
}

func TestClock_TimeThatJumpsMakesNoStreamOlder(t *testing.T) {
	for _, c := range []struct {
		name string
		tell func(v *timed)
	}{
		{"told by the mirror", func(v *timed) { v.renew(v.mirror) }},
		{"told by desired-state", func(v *timed) { v.renew(v.desired) }},
		{"told by both", func(v *timed) { v.renew(v.mirror); v.renew(v.desired) }},
		{"found when it is read again", func(v *timed) {
			v.desired.Lost(nil)
			v.desired.Begin(kv.Pass{Number: 2, Barrier: v.seq, Created: v.desired.pass.Created})
			v.renew(v.desired)
			v.desired.Synced(kv.Pass{})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newTimed(t, 0)
				v.aged(time.Hour, time.Hour)
				v.lose()
				time.Sleep(time.Minute)
				v.aged(time.Minute, time.Minute)
				v.set(time.Hour)
				c.tell(v)
				v.aged(time.Minute, time.Minute)
				time.Sleep(9 * time.Minute)
				v.renew(v.mirror)
				v.aged(10*time.Minute, 10*time.Minute)
			})
		})
	}
}

// The own clock says how long it was.
func TestClock_SilenceIsNoJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTimed(t, 0)
		time.Sleep(time.Hour)
		v.renew(v.mirror)
		v.renew(v.desired)
		v.waits(false)
		v.aged(2*time.Hour, 2*time.Hour)
	})
}

// What is read first was stored long ago. The time that it tells is past, and no quiet is counted from there; but how old a
// stream is its creation tells.
func TestClock_TimeThatBecomesKnownIsNoJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTimed(t, 50*time.Minute)
		v.aged(time.Hour, time.Hour)
		time.Sleep(10*time.Second - time.Millisecond)
		v.waits(true)
		time.Sleep(time.Millisecond)
		v.waits(false)
		v.aged(time.Hour+10*time.Second, time.Hour+10*time.Second)
	})
}

// The last message of before may be old: it is no later for that, and quiet is counted from the end of the reading.
func TestClock_ReadingAgainTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTimed(t, 0)
		time.Sleep(30 * time.Second)
		for _, s := range []*source{v.mirror, v.desired} {
			s.Lost(nil)
			s.Begin(kv.Pass{Number: 2, Barrier: v.seq, Created: s.pass.Created})
			v.say(s, fleet.KeyLease, `{"term":"t"}`, 20*time.Second)
			s.Synced(kv.Pass{})
		}
		v.aged(time.Hour+30*time.Second, time.Hour+30*time.Second)
		v.renew(v.mirror)
		v.renew(v.desired)
		v.aged(time.Hour+30*time.Second, time.Hour+30*time.Second)
		time.Sleep(10*time.Second - time.Millisecond)
		v.waits(true)
		time.Sleep(time.Millisecond)
		v.waits(false)
	})
}

// With one clock for both streams every renewal of one would jump, and every one of the other set it back.
func TestClock_ServersThatDifferDoNotMakeItJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTimed(t, 0)
		v.ahead[v.mirror] += 3 * time.Second
		v.lose()
		v.say(v.desired, "d1.web", "{}", 0)
		for range 3 {
			time.Sleep(200 * time.Millisecond)
			v.renew(v.mirror)
			v.waits(true)
			time.Sleep(3200 * time.Millisecond)
			v.renew(v.desired)
		}
		v.waits(false)
		v.aged(10200*time.Millisecond, 10200*time.Millisecond)
	})
}

// A leader with a slow clock is followed by one that is faster again, but not as fast as the first.
func TestClock_TimeThatWentBackMayJumpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTimed(t, 0)
		v.set(30 * time.Second)
		v.renew(v.mirror)
		v.renew(v.desired)
		v.set(-30 * time.Second)
		time.Sleep(31 * time.Second)
		v.renew(v.mirror)
		v.renew(v.desired)
		time.Sleep(late)
		v.Do(func(s *plan.State, n Now) { s.Woke(n.Time) })
		time.Sleep(5 * time.Second)
		v.set(10 * time.Second)
		v.renew(v.mirror)
		v.waits(true)
	})
}

// What a process finds that did not run for a while is older than what it knew, and then is not any more.
func TestClock_WhatComesLateIsNoJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTimed(t, 0)
		time.Sleep(time.Minute)
		v.Do(func(s *plan.State, n Now) { s.Woke(n.Time) })
		for ago := 57 * time.Second; ago > 0; ago -= 3 * time.Second {
			v.say(v.mirror, fleet.KeyLease, `{"term":"t"}`, ago)
			v.say(v.desired, fleet.KeyLease, `{"term":"t"}`, ago)
		}
		v.renew(v.mirror)
		v.waits(true)
		v.aged(time.Hour+time.Minute, time.Hour+time.Minute)
		time.Sleep(10 * time.Second)
		v.waits(false)
	})
}
