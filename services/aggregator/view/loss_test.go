package view

import (
	"fmt"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/staleness"
)

// again has one bucket read again, which is as old as before, and in which these keys are left or gone.
func (r *replay) again(bucket string, p kv.Pass, left, gone []string) {
	for _, f := range r.feeds {
		if f.bucket != bucket {
			continue
		}
		f.Begin(p)
		for _, key := range left {
			r.write(bucket, key, "{}")
		}
		for _, key := range gone {
			f.Apply(kv.Message{Key: key, Op: kv.Swept})
		}
		f.Synced(p)
	}
}

func keys(format string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

func TestLoss_EmptiedBucketCountsAsANewOne(t *testing.T) {
	all := keys("state.d%d.web", 10)
	for _, c := range []struct {
		name      string
		lost      int
		recreated bool
		restored  bool
		want      bool
	}{
		{"read again", 0, false, false, false},
		{"one key gone", 1, false, false, false},
		{"a fifth gone", 2, false, false, true},
		{"purged", 10, false, false, true},
		{"restored from a backup", 0, false, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplay(0)
			created := r.server.Add(-time.Hour)
			p := kv.Pass{Number: 2, Created: created, NewIncarnation: c.restored}
			r.pass(created)
			for _, key := range all {
				r.write(fleet.BucketDeviceState, key, "{}")
			}
			r.again(fleet.BucketDeviceState, p, all[c.lost:], all[:c.lost])
			young := func() (is bool) {
				r.Read(func(_ *projection.State, m Moment) { is = m.StatesYoung })
				return is
			}
			if young() != c.want || r.Announce() != c.want {
				t.Errorf("young %t, all asked %t", young(), r.Announce())
			}
			r.Announced()
			p.NewIncarnation = false
			r.again(fleet.BucketDeviceState, p, all[c.lost:], nil)
			if young() != c.want || r.Announce() {
				t.Errorf("read again: young %t, all asked %t", young(), r.Announce())
			}
			r.server = r.server.Add(time.Minute)
			if young() {
				t.Error("young for ever")
			}
		})
	}
}

// That a bucket was restored from a backup only the first pass can tell: it is remembered until one comes to its end.
func TestLoss_OutlastsAPassThatIsCut(t *testing.T) {
	for _, c := range []struct {
		name    string
		created time.Duration // of the bucket in the pass that is cut, after it was created first
		want    bool
	}{
		{"restored", 0, true},
		{"restored, of before it was created last", -time.Minute, true},
		{"created anew", time.Minute, false},
	} {
		var l loss
		created := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		l.begin(kv.Pass{Created: created})
		l.end()
		p := kv.Pass{Created: created.Add(c.created), NewIncarnation: true}
		l.begin(p)
		p.NewIncarnation = false
		l.begin(p)
		if l.great() != c.want {
			t.Errorf("%s: great is %t after the cut", c.name, l.great())
		}
		l.end()
		l.begin(p)
		if l.great() {
			t.Errorf("%s: great for ever", c.name)
		}
	}
}

// What is left after a loss may be older than what the devices said last. In a bucket that was created anew nothing is.
func TestLoss_ReportsThatAreLeftAreDoubted(t *testing.T) {
	for _, c := range []struct {
		name    string
		created time.Duration // of the bucket, after it was created first
		lost    int
		want    int
	}{
		{"read again", 0, 0, 0},
		{"restored from a backup", 0, 1, 2},
		{"restored from a backup of before it was created last", -time.Minute, 1, 2},
		{"created anew", time.Minute, 1, 0},
		{"restored into a new stream, which is younger than what is in it", 2 * time.Hour, 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplay(0)
			created := r.server.Add(-time.Hour)
			r.pass(created)
			r.write(fleet.BucketDesiredState, "d0.web", "{}")
			r.write(fleet.BucketDesiredState, "d1.web", "{}")
			all := keys("state.d%d.web", 2)
			r.again(fleet.BucketDeviceState, kv.Pass{Number: 2, Created: created}, all, nil)
			p := kv.Pass{Number: 3, Created: created.Add(c.created), NewIncarnation: c.lost > 0, Barrier: r.seq + 2}
			r.again(fleet.BucketDeviceState, p, all, nil)
			owed := func(want int) {
				t.Helper()
				r.Read(func(s *projection.State, _ Moment) {
					if d, _ := s.Deployment("web"); d.Owed != want {
						t.Errorf("%d reports owed, want %d", d.Owed, want)
					}
				})
			}
			owed(c.want)
			r.write(fleet.BucketDeviceState, all[0], "{}")
			owed(max(c.want-1, 0))
			r.seq = 0 // revisions begin again
			p = kv.Pass{Number: 4, Created: p.Created.Add(time.Minute), NewIncarnation: true}
			r.again(fleet.BucketDeviceState, p, all, nil)
			owed(0)
		})
	}
}

// A person who removes what does not belong there takes nothing away.
func TestLoss_IllegalKeysAreNone(t *testing.T) {
	r := newReplay(0)
	all, illegal := keys("state.d%d.web", 10), keys("Bad.%d", 30)
	p := kv.Pass{Number: 2, Created: r.server.Add(-time.Hour)}
	r.pass(p.Created)
	for _, key := range append(illegal, all...) {
		r.write(fleet.BucketDeviceState, key, "{}")
	}
	r.again(fleet.BucketDeviceState, p, all, illegal)
	if r.Announce() {
		t.Error("all are asked when illegal keys are gone")
	}
	for _, key := range illegal {
		r.write(fleet.BucketDeviceState, key, "{}")
	}
	r.again(fleet.BucketDeviceState, p, append(illegal, all[2:]...), all[:2])
	if !r.Announce() {
		t.Error("illegal keys make a loss look small")
	}
}

// Markers end an hour after their values were collected, without a word when nobody reads.
func TestLoss_MarkersThatEndedAreNone(t *testing.T) {
	all := keys("state.d%d.web", 10)
	for _, c := range []struct {
		name            string
		values, markers int // of these keys that are gone
		want            bool
	}{
		{"markers", 0, 3, false},
		{"all markers", 0, 10, false},
		{"markers and a value", 1, 4, false},
		{"markers and a fifth of the values", 2, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplay(0)
			p := kv.Pass{Number: 2, Created: r.server.Add(-time.Hour)}
			r.pass(p.Created)
			r.write(fleet.BucketResources, fleet.KeyLease, "{}") // tells the time
			states := r.feeds[3]
			states.Begin(p)
			for _, key := range all[c.values+c.markers:] {
				r.write(fleet.BucketDeviceState, key, "{}")
			}
			for i, key := range all[:c.values+c.markers] {
				states.Apply(kv.Message{Key: key, Op: kv.Swept, Marker: i >= c.values})
			}
			states.Synced(p)
			r.Read(func(_ *projection.State, m Moment) {
				if m.StatesYoung != c.want {
					t.Errorf("the bucket is young: %t", m.StatesYoung)
				}
			})
			if r.Announce() != c.want {
				t.Errorf("all are asked: %t", r.Announce())
			}
		})
	}
}

func TestLoss_OfACreatedBucketIsToldOnce(t *testing.T) {
	r := newReplay(0)
	all := keys("info.d%d", 10)
	r.pass(r.server.Add(-time.Hour))
	for _, key := range all {
		r.write(fleet.BucketDeviceInfo, key, "{}")
	}
	p := kv.Pass{Number: 2, Created: r.server, NewIncarnation: true}
	r.again(fleet.BucketDeviceInfo, p, nil, nil)
	if !r.Announce() {
		t.Fatal("a new bucket is not told")
	}
	r.Announced()
	p.Number, p.NewIncarnation = 3, false
	r.again(fleet.BucketDeviceInfo, p, nil, nil)
	if r.Announce() {
		t.Error("told twice")
	}
}

// The first heartbeat after the purge ends no silence of the others.
func TestLoss_OfHeartbeatsMakesNobodyStale(t *testing.T) {
	r := newReplay(0)
	created := r.server.Add(-time.Hour)
	r.pass(created)
	all := keys("heartbeat.d%d", 10)
	for _, key := range keys("info.d%d", 10) {
		r.write(fleet.BucketDeviceInfo, key, "{}")
	}
	r.server = r.server.Add(time.Hour)
	for _, key := range all {
		r.write(fleet.BucketDeviceHeartbeat, key, "{}")
	}
	r.again(fleet.BucketDeviceHeartbeat, kv.Pass{Number: 2, Created: created}, nil, all)
	r.server = r.server.Add(time.Second)
	r.write(fleet.BucketDeviceHeartbeat, all[0], "{}")
	if r.stale("d1") {
		t.Error("stale a second after its last heartbeat")
	}
	silent := r.server
	for !r.stale("d1") && r.server.Before(silent.Add(time.Hour)) {
		r.server = r.server.Add(staleness.DefaultInterval)
		r.write(fleet.BucketDeviceHeartbeat, all[0], "{}")
	}
	if after := r.server.Sub(silent); after > staleness.DefaultStaleAfter+staleness.DefaultInterval {
		t.Errorf("stale only after %s", after)
	}
}

// An info that came with a backup is doubted until its device has sent another.
func TestLoss_InfosOfABackupAreDoubted(t *testing.T) {
	r := newReplay(0)
	created := r.server.Add(-time.Hour)
	r.pass(created)
	r.again(fleet.BucketDeviceInfo, kv.Pass{Number: 2, Created: created, NewIncarnation: true, Restored: r.seq + 1}, []string{"info.d1", "info.d2"}, nil)
	for id, want := range map[fleet.DeviceID]bool{"d1": true, "d2": false} {
		r.Read(func(s *projection.State, _ Moment) {
			if d, _ := s.Device(id); d.InfoDoubted != want {
				t.Errorf("%s: doubted %t, want %t", id, d.InfoDoubted, want)
			}
		})
	}
	r.write(fleet.BucketDeviceInfo, "info.d1", "{}")
	r.Read(func(s *projection.State, _ Moment) {
		if d, _ := s.Device("d1"); d.InfoDoubted {
			t.Error("what was sent since is doubted")
		}
	})
}
