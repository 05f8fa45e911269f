package invariant

import (
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestGarbage(t *testing.T) {
	const info, state, heartbeat, mirror = fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat, fleet.BucketResources
	wanted := value(webUID, oldScore)
	sweep := func(s *script, bucket, key string) { s.op(record.Op{Bucket: bucket, Key: key, Kind: record.OpDelete}) }
	deleting := func(s *script, name string) {
		s.change(fleet.KindDevice, name, func(w *record.Write) { w.Deleting = true })
		s.mirror(fleet.KindDevice, name)
	}
	gone := func(s *script, name string) {
		s.write(record.WriteDeleted, device(name, "south"))
		s.mirror(fleet.KindDevice, name)
	}
	hold := func(s *script, value string) { s.own(fleet.BucketDesiredState, fleet.KeyHold, value) }
	unhold := func(s *script) {
		s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: fleet.KeyHold, Kind: record.OpDelete, Epoch: s.epochs[fleet.BucketDesiredState]})
	}
	byHand := func(s *script, bucket, key string) { s.fault("lost-keys", bucket+": other "+key) }
	judged(t, garbage, []example{
		{"while a hold stands", func(s *script) {
			deleting(s, "pi-3")
			hold(s, `{"id":"h"}`)
			hold(s, `{"id":"h","approved":true}`)
			s.after(time.Minute)
			sweep(s, info, "info.pi-3")
		}, "info.pi-3 was deleted at revision 104, while a hold stood"},
		{"a report of a pair that is desired", func(s *script) { sweep(s, state, "state.pi-1.web") }, "while desired-state had pi-1.web"},
		{"of a device that leaves with a desired key", func(s *script) { deleting(s, "pi-1"); sweep(s, heartbeat, "heartbeat.pi-1") }, "while desired-state had pi-1.web"},
		{"the info of a living device", func(s *script) { sweep(s, info, "info.pi-3") }, "though pi-3 did not leave, and the key was no orphan for more than 0s"},
		{"the heartbeat of a living device", func(s *script) { sweep(s, heartbeat, "heartbeat.pi-3") }, "though pi-3 did not leave"},
		{"a report that was desired a while ago", func(s *script) {
			s.remove("pi-1", fleet.CauseEdited)
			s.after(30 * time.Minute)
			sweep(s, state, "state.pi-1.web")
		}, "no orphan for more than 30m"},
		{"a report that never was desired, and is young", func(s *script) {
			s.report("pi-3", fleet.PhaseRunning, wanted)
			s.after(time.Minute)
			sweep(s, state, "state.pi-3.web")
		}, "no orphan for more than 1m"},
		{"an info that is newer than the tombstone", func(s *script) {
			gone(s, "pi-3")
			s.after(10*time.Second).put(info, "info.pi-3", "{}")
			s.after(time.Minute)
			sweep(s, info, "info.pi-3")
		}, "though pi-3 did not leave"},
		{"an info of nobody, and it is young", func(s *script) {
			s.put(info, "info.pi-9", "{}")
			s.after(time.Minute)
			sweep(s, info, "info.pi-9")
		}, "no orphan for more than 1m"},
		{"again after it was removed by hand", func(s *script) {
			byHand(s, info, "info.pi-3")
			sweep(s, info, "info.pi-3")
			s.put(info, "info.pi-3", "{}")
			sweep(s, info, "info.pi-3")
		}, "at revision 106"},

		{"of a device that is being deleted", func(s *script) {
			deleting(s, "pi-3")
			s.put(info, "info.pi-3", "{}")
			sweep(s, info, "info.pi-3")
			sweep(s, heartbeat, "heartbeat.pi-3")
		}, ""},
		{"of one whose keys were just deleted", func(s *script) {
			deleting(s, "pi-1")
			s.remove("pi-1", fleet.CauseDeleted)
			sweep(s, state, "state.pi-1.web")
			sweep(s, info, "info.pi-1")
		}, ""},
		{"of one with a tombstone", func(s *script) { gone(s, "pi-3"); sweep(s, info, "info.pi-3") }, ""},
		{"the hold was just released", func(s *script) {
			deleting(s, "pi-3")
			hold(s, `{"id":"h"}`)
			s.after(time.Minute)
			unhold(s)
			sweep(s, info, "info.pi-3")
		}, ""},
		{"a hold came just now", func(s *script) { deleting(s, "pi-3"); hold(s, `{"id":"h"}`); sweep(s, info, "info.pi-3") }, ""},
		{"by an aggregator that was stopped before the hold", func(s *script) {
			deleting(s, "pi-3")
			s.process(record.ProcessPaused, fleet.ServiceAggregator)
			hold(s, `{"id":"h"}`)
			s.after(time.Minute).process(record.ProcessContinued, fleet.ServiceAggregator)
			sweep(s, info, "info.pi-3")
		}, ""},
		{"a report that has been no longer desired for long", func(s *script) {
			s.remove("pi-1", fleet.CauseEdited)
			s.after(time.Hour)
			sweep(s, state, "state.pi-1.web")
		}, ""},
		{"as the aggregator was told", func(s *script) {
			s.add(record.Event{Process: &record.Process{
				Kind: record.ProcessStarted, Service: fleet.ServiceAggregator, Instance: "aggregator-2", Args: []string{"--orphan-after", "1m"},
			}})
			s.remove("pi-1", fleet.CauseEdited)
			s.after(time.Minute)
			sweep(s, state, "state.pi-1.web")
		}, ""},
		{"an info of nobody for long", func(s *script) {
			s.put(info, "info.pi-9", "{}")
			s.after(time.Hour)
			sweep(s, info, "info.pi-9")
		}, ""},
		{"a key that may have been there before it was seen", func(s *script) {
			s.op(record.Op{Bucket: info, Key: "info.pi-9", Missed: 1})
			sweep(s, info, "info.pi-9")
		}, ""},
		{"an illegal key", func(s *script) { s.put(info, "bad!key", "x"); sweep(s, info, "bad!key") }, ""},
		{"by hand", func(s *script) { byHand(s, info, "info.pi-3"); sweep(s, info, "info.pi-3") }, ""},
		{"what the mirror said was not seen", func(s *script) {
			s.op(record.Op{Bucket: mirror, Key: fleet.KeyLease, Missed: 1})
			sweep(s, info, "info.pi-3")
		}, ""},
		{"the mirror was lost", func(s *script) { s.fault("purge", mirror, mirror); sweep(s, info, "info.pi-3") }, ""},
		{"desired-state was lost", func(s *script) {
			deleting(s, "pi-1")
			s.fault("purge", "", fleet.BucketDesiredState)
			sweep(s, state, "state.pi-1.web")
		}, ""},
	})
}
