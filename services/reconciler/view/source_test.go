package view

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/reconciler/plan"
)

// unread is a view whose sources the test feeds.
func unread() *View {
	return New(Config{
		Mirror: kv.Open(nil, fleet.BucketResources, kv.Provisioning{}), Desired: kv.Open(nil, fleet.BucketDesiredState, kv.Provisioning{}),
		Brake: plan.DefaultBrake(), Log: slog.New(slog.DiscardHandler),
	})
}

// TestSource_MirrorThatWentBackIsDoubted: revisions over passes are compared for this alone.
func TestSource_MirrorThatWentBackIsDoubted(t *testing.T) {
	for _, c := range []struct {
		name    string
		barrier uint64
		whole   bool
	}{
		{"read again", 105, true},
		{"created again", 1 << 40, true},
		{"went back", 104, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := unread()
			own := nats.Header{fleet.HeaderEpoch: []string{"7"}}
			read := func(barrier uint64, revisions ...uint64) {
				v.mirror.Begin(kv.Pass{Barrier: barrier})
				for _, r := range revisions {
					v.mirror.Apply(kv.Message{Key: fleet.KeySynced, Value: []byte(`{"epoch":7}`), Revision: r, Header: own})
				}
				v.mirror.Synced(kv.Pass{Barrier: barrier})
			}
			whole := func() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.state.MirrorWhole() }
			read(100, 100, 105)
			if !whole() {
				t.Fatal("it is not whole at first")
			}
			read(c.barrier)
			if whole() != c.whole {
				t.Errorf("whole is %t, want %t", !c.whole, c.whole)
			}
			read(c.barrier)
			if whole() != c.whole {
				t.Errorf("whole is %t when read once more, want %t", !c.whole, c.whole)
			}
		})
	}
}

// A stream is as young as its creation, its last going back, or the last loss of what was in it.
func TestSource_IsYoungAgain(t *testing.T) {
	created := time.Now().Add(-time.Hour)
	v := unread()
	ages := func() (mirror, desired time.Duration) {
		v.Do(func(_ *plan.State, n Now) { mirror, desired = n.Time.Sub(n.Mirror), n.Time.Sub(n.Desired) })
		return mirror.Round(time.Minute), desired.Round(time.Minute)
	}
	check := func(what string, wantMirror, wantDesired time.Duration) {
		t.Helper()
		if m, d := ages(); m != wantMirror || d != wantDesired {
			t.Errorf("%s: the mirror is %s old and desired-state %s, want %s and %s", what, m, d, wantMirror, wantDesired)
		}
	}
	for _, s := range []*source{v.mirror, v.desired} {
		s.Begin(kv.Pass{Number: 1, Barrier: 100, Created: created})
	}
	v.desired.Apply(kv.Message{
		Key: "d1.web", Value: []byte("{}"), Revision: 50, Time: time.Now(), Header: nats.Header{fleet.HeaderEpoch: []string{"7"}},
	})
	check("as created", time.Hour, time.Hour)
	v.desired.Apply(kv.Message{Key: "d2.web", Op: kv.Swept})
	check("a marker is gone", time.Hour, time.Hour)
	v.mirror.Begin(kv.Pass{Number: 2, Barrier: 90, Created: created, NewIncarnation: true})
	check("the mirror went back", 0, time.Hour)
	v.desired.Apply(kv.Message{Key: "d1.web", Op: kv.Swept})
	check("a value is gone", 0, 0)
}

// What desired-state lost when it was set back may never have been in view.
func TestSource_DesiredStateThatWasSetBackHasLostValues(t *testing.T) {
	v := unread()
	check := func(what string, want bool) {
		t.Helper()
		v.Do(func(s *plan.State, _ Now) {
			if lost := !s.Lost().IsZero(); lost != want {
				t.Errorf("%s: lost %t, want %t", what, lost, want)
			}
		})
	}
	v.desired.Begin(kv.Pass{Number: 1, Barrier: 100, Created: time.Now()})
	check("read for the first time", false)
	v.desired.Begin(kv.Pass{Number: 2, Barrier: 110, Created: time.Now()})
	check("read again", false)
	v.mirror.Begin(kv.Pass{Number: 2, Barrier: 90, Created: time.Now(), NewIncarnation: true})
	check("the mirror went back", false)
	v.desired.Begin(kv.Pass{Number: 3, Barrier: 90, Created: time.Now(), NewIncarnation: true})
	check("it went back", true)
}

// Nothing can be concluded from a mirror before it is whole: its youth begins then.
func TestSource_IsYoungWhenTheMirrorBecomesWhole(t *testing.T) {
	synced := kv.Message{Key: fleet.KeySynced, Value: []byte(`{"epoch":7}`), Revision: 90, Header: nats.Header{fleet.HeaderEpoch: []string{"7"}}}
	for _, c := range []struct {
		name  string
		feed  func(s *source, p kv.Pass)
		young bool
	}{
		{"whole when first read", func(s *source, p kv.Pass) { s.Apply(synced); s.Synced(p) }, false},
		{"made whole later", func(s *source, p kv.Pass) { s.Synced(p); s.Apply(synced) }, true},
		{"made whole between two readings", func(s *source, p kv.Pass) { s.Synced(p); s.Lost(nil); s.Begin(p); s.Apply(synced); s.Synced(p) }, true},
		{"whole all along", func(s *source, p kv.Pass) { s.Apply(synced); s.Synced(p); s.Begin(p); s.Apply(synced); s.Synced(p) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := unread()
			p := kv.Pass{Number: 1, Barrier: 100, Created: time.Now().Add(-time.Hour)}
			v.mirror.Begin(p)
			c.feed(v.mirror, p)
			v.Do(func(_ *plan.State, n Now) {
				if young := n.Time.Sub(n.Mirror) < time.Minute; young != c.young {
					t.Errorf("young %t, want %t", young, c.young)
				}
			})
		})
	}
}
