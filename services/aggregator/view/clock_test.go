package view

import (
	"log/slog"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/staleness"
)

// replay is a view whose feeds the test plays, at a server's time that the own clock is off from.
type replay struct {
	*View
	server time.Time
	seq    uint64
}

func newReplay(skew time.Duration) *replay {
	r := &replay{server: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	r.View = New(func() time.Time { return r.server.Add(skew) }, staleness.Config{
		Interval: staleness.DefaultInterval, StaleAfter: staleness.DefaultStaleAfter,
		SilenceAfter: staleness.DefaultSilenceAfter, Few: staleness.DefaultFew,
	}, time.Minute)
	open := func(bucket string) *kv.Bucket { return kv.Open(nil, bucket, kv.Provisioning{}) }
	r.Reflectors(Buckets{
		Resources: open(fleet.BucketResources), Desired: open(fleet.BucketDesiredState),
		Infos: open(fleet.BucketDeviceInfo), States: open(fleet.BucketDeviceState), Heartbeats: open(fleet.BucketDeviceHeartbeat),
	}, 0, slog.New(slog.DiscardHandler))
	return r
}

// pass has every bucket read anew, after a time in which the connection was lost.
func (r *replay) pass(created time.Time) {
	for _, f := range r.feeds {
		f.Begin(kv.Pass{Number: 1, Created: created})
	}
	for _, f := range r.feeds {
		f.Synced(kv.Pass{Number: 1, Created: created})
	}
}

// write brings a value that is stored now.
func (r *replay) write(bucket, key, value string) uint64 {
	r.seq++
	for _, f := range r.feeds {
		if f.bucket == bucket {
			f.Apply(kv.Message{Key: key, Value: []byte(value), Revision: r.seq, Time: r.server})
		}
	}
	return r.seq
}

func (r *replay) stale(id fleet.DeviceID) (is bool) {
	r.Read(func(s *projection.State, _ Moment) {
		d, _ := s.Device(id)
		is = d.Stale
	})
	return is
}

func TestClock_OwnOneIsWrong(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, -300 * time.Second, 44 * time.Second, time.Minute, time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			r := newReplay(skew)
			r.pass(r.server.Add(-time.Hour))
			died := r.server
			r.write(fleet.BucketDeviceHeartbeat, "heartbeat.dead", "{}")
			for !r.stale("dead") && r.server.Before(died.Add(10*time.Minute)) {
				r.server = r.server.Add(time.Second)
				if r.server.Sub(died)%staleness.DefaultInterval == 0 {
					r.write(fleet.BucketDeviceHeartbeat, "heartbeat.alive", "{}")
				}
			}
			if after := r.server.Sub(died); after != staleness.DefaultStaleAfter+time.Second {
				t.Errorf("stale after %s", after)
			}
			r.Read(func(_ *projection.State, m Moment) {
				if !m.Now.Equal(r.server) || m.Verdict.Undecided || m.Verdict.Hushed {
					t.Errorf("at %s: %+v", r.server, m)
				}
			})
		})
	}
}

// Leases are renewed also while no device speaks, and their stamps count.
func TestClock_FollowsReservedKeys(t *testing.T) {
	for _, bucket := range []string{fleet.BucketResources, fleet.BucketDesiredState} {
		r := newReplay(-time.Hour)
		r.pass(r.server.Add(-time.Hour))
		r.write(bucket, fleet.KeyLease, "{}")
		r.Read(func(_ *projection.State, m Moment) {
			if !m.Now.Equal(r.server) {
				t.Errorf("after %s of %s it is %s", fleet.KeyLease, bucket, m.Now)
			}
		})
	}
}

func TestClock_TellsHowYoungABucketIs(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		for age, want := range map[time.Duration]bool{0: true, 59 * time.Second: true, time.Minute: false} {
			r := newReplay(skew)
			created := r.server
			r.server = created.Add(age)
			r.pass(created)
			r.write(fleet.BucketResources, fleet.KeyLease, "{}")
			r.Read(func(_ *projection.State, m Moment) {
				if m.StatesYoung != want || m.DesiredYoung != want {
					t.Errorf("own clock off by %s, %s after the creation: %+v", skew, age, m)
				}
			})
		}
	}
}
