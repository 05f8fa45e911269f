package invariant

import (
	"fmt"
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestBrake(t *testing.T) {
	const tooMuch = "keys went within 10m0s for doubtful causes"
	const bucket = fleet.BucketDesiredState
	name := func(i int) string { return fmt.Sprintf("dev-%02d", i) }
	grow := func(s *script, n int) { // to n keys; two are there
		for i := 2; i < n; i++ {
			s.write(record.WriteAdded, device(name(i), "north"))
			s.mirror(fleet.KindDevice, name(i))
			s.desire(name(i), value(webUID, oldScore))
		}
		s.after(time.Minute)
	}
	take := func(s *script, from, to int, cause fleet.Cause) {
		for i := from; i < to; i++ {
			s.remove(name(i), cause)
		}
	}
	hold := func(s *script, h fleet.Hold) { s.own(bucket, fleet.KeyHold, encoded(h)) }
	release := func(s *script) {
		s.op(record.Op{Bucket: bucket, Key: fleet.KeyHold, Kind: record.OpDelete, Epoch: s.epochs[bucket]})
	}
	started := func(s *script, args ...string) {
		s.add(record.Event{Process: &record.Process{Kind: record.ProcessStarted, Service: fleet.ServiceReconciler, Instance: "reconciler-2", Args: args}})
	}
	vanish := func(s *script, kind, name string) {
		s.write(record.WriteDeleted, *s.resources[lineOf(kind, name)])
		key := map[string]string{fleet.KindDevice: "device.", fleet.KindDeployment: "deployment."}[kind] + name
		s.own(fleet.BucketResources, key, `{"tombstone":{"cause":"vanished","at":"2026-03-01T12:00:00Z"}}`)
		s.after(30 * time.Second)
	}
	vanishAll := func(s *script) {
		for _, d := range []string{"pi-1", "pi-2", "pi-3"} {
			vanish(s, fleet.KindDevice, d)
		}
	}
	judged(t, brake, []example{
		{"at once", func(s *script) {
			grow(s, 40)
			take(s, 2, 11, fleet.CauseVanished)
			s.remove("pi-1", fleet.CauseVanished)
		}, "with it 10 of 40 " + tooMuch},
		{"no more than the least that is held", func(s *script) { grow(s, 12); take(s, 2, 12, fleet.CauseRelabelled) }, "10 of 12 " + tooMuch},
		{"piece by piece", func(s *script) {
			grow(s, 60)
			take(s, 2, 8, fleet.CauseVanished)
			s.after(4 * time.Minute)
			take(s, 8, 14, fleet.CauseRegressed)
			s.after(4 * time.Minute)
			take(s, 14, 15, fleet.CauseRelabelled)
		}, "13 of 60 " + tooMuch},
		{"by two holders", func(s *script) {
			grow(s, 40)
			take(s, 2, 7, fleet.CauseVanished)
			s.take(bucket, "reconciler-2")
			take(s, 7, 12, fleet.CauseVanished)
		}, tooMuch},
		{"behind a hold", func(s *script) {
			grow(s, 40)
			hold(s, fleet.Hold{ID: "h", Deletes: 20})
			take(s, 2, 3, fleet.CauseVanished)
		}, "under h, which nobody approved"},
		{"behind a new hold", func(s *script) {
			grow(s, 40)
			hold(s, fleet.Hold{ID: "h", Deletes: 20, Approved: true})
			hold(s, fleet.Hold{ID: "i", Deletes: 30})
			take(s, 2, 3, fleet.CauseVanished)
		}, "under i, which nobody approved"},
		{"more than was approved", func(s *script) {
			grow(s, 40)
			hold(s, fleet.Hold{ID: "h", Deletes: 15, Approved: true})
			take(s, 2, 27, fleet.CauseVanished)
		}, tooMuch},
		{"after the hold was released", func(s *script) {
			grow(s, 40)
			hold(s, fleet.Hold{ID: "h", Deletes: 30, Approved: true})
			release(s)
			take(s, 2, 12, fleet.CauseVanished)
		}, tooMuch},
		{"somebody else wrote an approved hold", func(s *script) {
			grow(s, 40)
			s.put(bucket, fleet.KeyHold, encoded(fleet.Hold{ID: "h", Deletes: 30, Approved: true}))
			take(s, 2, 12, fleet.CauseVanished)
		}, tooMuch},
		{"the last Device", func(s *script) { vanishAll(s); s.remove("pi-1", fleet.CauseVanished) }, "though no Device was left"},
		{"the last Deployment", func(s *script) { vanish(s, fleet.KindDeployment, web); s.remove("pi-1", fleet.CauseVanished) }, "though no Deployment was left"},
		{"all but one that is being deleted", func(s *script) {
			s.change(fleet.KindDevice, "pi-3", func(w *record.Write) { w.Deleting = true })
			s.mirror(fleet.KindDevice, "pi-3")
			vanish(s, fleet.KindDevice, "pi-1")
			vanish(s, fleet.KindDevice, "pi-2")
			s.remove("pi-1", fleet.CauseVanished)
		}, "though no Device was left"},
		{"over the limits of the flags", func(s *script) {
			started(s, "--brake-min", "7", "--brake-min", "15", "--brake-percent=50")
			grow(s, 40)
			take(s, 2, 23, fleet.CauseVanished)
		}, "21 of 40"},

		{"few", func(s *script) { grow(s, 12); take(s, 2, 11, fleet.CauseVanished) }, ""},
		{"few of many", func(s *script) { grow(s, 52); take(s, 2, 12, fleet.CauseVanished) }, ""},
		{"many for a cause that a person gave", func(s *script) {
			grow(s, 40)
			take(s, 2, 20, fleet.CauseEdited)
			take(s, 20, 30, fleet.CauseDeleted)
			take(s, 30, 40, fleet.CauseQuarantined)
		}, ""},
		{"over a long time", func(s *script) {
			grow(s, 40)
			for i := 2; i < 38; i++ {
				take(s, i, i+1, fleet.CauseVanished)
				s.after(2 * time.Minute)
			}
		}, ""},
		{"few beside many that a person deleted", func(s *script) {
			grow(s, 60)
			take(s, 20, 60, fleet.CauseDeleted)
			take(s, 2, 12, fleet.CauseVanished)
		}, ""},
		{"the same key again and again", func(s *script) {
			for range 20 {
				s.remove("pi-1", fleet.CauseRelabelled)
				s.after(10*time.Second).desire("pi-1", value(webUID, oldScore))
			}
		}, ""},
		{"some, which come back, and others", func(s *script) {
			grow(s, 40)
			take(s, 2, 11, fleet.CauseVanished)
			for i := 2; i < 11; i++ {
				s.desire(name(i), value(webUID, oldScore))
			}
			take(s, 11, 20, fleet.CauseVanished)
		}, ""},
		{"approved", func(s *script) {
			grow(s, 40)
			hold(s, fleet.Hold{ID: "h", Deletes: 30})
			hold(s, fleet.Hold{ID: "h", Deletes: 30, Approved: true})
			take(s, 2, 32, fleet.CauseVanished)
			release(s)
			take(s, 32, 34, fleet.CauseVanished)
		}, ""},
		{"a hold that released itself", func(s *script) {
			grow(s, 40)
			hold(s, fleet.Hold{ID: "h", Deletes: 30})
			release(s)
			take(s, 2, 5, fleet.CauseVanished)
		}, ""},
		{"what a hold was is not known", func(s *script) {
			hold(s, fleet.Hold{ID: "h", Deletes: 30})
			s.put(bucket, fleet.KeyHold, "{")
			s.remove("pi-1", fleet.CauseRelabelled)
		}, ""},
		{"the last ones are deleted", func(s *script) {
			for _, d := range []string{"pi-1", "pi-2", "pi-3"} {
				s.write(record.WriteDeleted, *s.resources["Device/"+d])
				s.mirror(fleet.KindDevice, d)
			}
			s.after(30*time.Second).remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"all but one", func(s *script) {
			vanish(s, fleet.KindDevice, "pi-1")
			vanish(s, fleet.KindDevice, "pi-2")
			s.remove("pi-1", fleet.CauseVanished)
			s.remove("pi-2", fleet.CauseVanished)
		}, ""},
		{"the last one went a moment ago", func(s *script) {
			vanish(s, fleet.KindDevice, "pi-1")
			vanish(s, fleet.KindDevice, "pi-2")
			s.write(record.WriteDeleted, *s.resources["Device/pi-3"])
			s.mirror(fleet.KindDevice, "pi-3")
			s.remove("pi-1", fleet.CauseVanished)
		}, ""},
		{"the last Device of an approved hold", func(s *script) {
			vanishAll(s)
			hold(s, fleet.Hold{ID: "h", Deletes: 2, Approved: true})
			s.remove("pi-1", fleet.CauseVanished)
			s.remove("pi-2", fleet.CauseVanished)
		}, ""},
		{"the bucket was lost meanwhile", func(s *script) {
			grow(s, 40)
			take(s, 2, 11, fleet.CauseVanished)
			s.fault("purge", "it", bucket)
			s.after(time.Minute)
			take(s, 11, 20, fleet.CauseVanished)
		}, ""},
		{"an old desired-state is back", func(s *script) {
			grow(s, 12)
			took := s.now
			take(s, 2, 8, fleet.CauseVanished)
			s.after(time.Minute).found(bucket)
			for i := range 12 {
				s.op(record.Op{Bucket: bucket, Key: name(i) + ".web", Kind: record.OpDelete, Epoch: 90, Cause: fleet.CauseVanished, Stamp: took})
			}
		}, ""},
		{"as many as the flags allow", func(s *script) {
			started(s, "--brake-min", "12", "--brake-min", "1000")
			grow(s, 40)
			take(s, 2, 40, fleet.CauseVanished)
		}, ""},
		{"in a window that is shorter", func(s *script) {
			started(s, "--brake-window=1m")
			grow(s, 40)
			take(s, 2, 8, fleet.CauseVanished)
			s.after(2 * time.Minute)
			take(s, 8, 14, fleet.CauseVanished)
		}, ""},
		{"puts that were not seen", func(s *script) {
			grow(s, 12)
			s.op(record.Op{Bucket: bucket, Key: "x.web", Value: "{}", Missed: 60})
			take(s, 2, 12, fleet.CauseRelabelled)
		}, ""},
	})
}
