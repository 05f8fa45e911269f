package invariant

import (
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestNoOp(t *testing.T) {
	during := func(f func(s *script)) func(s *script) {
		return func(s *script) {
			s.steady(false)
			s.after(time.Second)
			f(s)
			s.after(time.Second).steady(true)
		}
	}
	wanted := value(webUID, oldScore)
	judged(t, noOp, []example{
		{"a desired value", during(func(s *script) { s.desire("pi-1", wanted) }), "desired-state: put of pi-1.web"},
		{"a delete", during(func(s *script) { s.remove("pi-1", fleet.CauseDeleted) }), "delete of pi-1.web"},
		{"an entry of the mirror", during(func(s *script) { s.mirror(fleet.KindDevice, "pi-1") }), "fleet-resources: put of device.pi-1"},
		{"a status", during(func(s *script) { s.say(status(1, 2)) }), "Deployment web was modified"},
		{"a resource goes", during(func(s *script) { s.write(record.WriteDeleted, device("pi-1", "north")) }), "Device pi-1 was deleted"},
		{"another report", during(func(s *script) { s.report("pi-1", fleet.PhaseFailed, wanted) }), "device-state: put of state.pi-1.web"},
		{"a report of a pair that had none", during(func(s *script) { s.report("pi-3", fleet.PhaseRunning, wanted) }), "put of state.pi-3.web"},
		{"an info is deleted", during(func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDeviceInfo, Key: "info.pi-1", Kind: record.OpDelete})
		}), "delete of info.pi-1"},
		{"what is applied is recorded again", during(func(s *script) { s.applied(webUID, 1) }), "_applied.web was put at revision 105 and again at 106 with the same value"},
		{"_synced again", during(func(s *script) {
			s.own(fleet.BucketResources, fleet.KeySynced, encoded(fleet.Synced{Epoch: s.epochs[fleet.BucketResources]}))
		}), "_synced was put at revision"},
		{"without an end", func(s *script) { s.steady(false); s.after(time.Second).desire("pi-1", wanted) }, "put of pi-1.web"},
		{"recorded after the end", func(s *script) {
			s.steady(false)
			at := s.after(time.Second).now
			s.after(time.Second).steady(true)
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Stamp: at})
		}, "put of pi-1.web"},

		{"book-keeping", during(func(s *script) { s.vouch(); s.take(fleet.BucketLeases, "aggregator-1"); s.applied(webUID, 2) }), ""},
		{"a record again after one that was not seen", during(func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "_applied.web", Value: encoded(fleet.Applied{UID: webUID, Generation: 1}), Epoch: 1, Missed: 1})
		}), ""},
		{"a record again after a loss", during(func(s *script) {
			s.fault("purge", "", fleet.BucketDesiredState)
			s.applied(webUID, 1)
		}), ""},
		{"a heartbeat", during(func(s *script) { s.put(fleet.BucketDeviceHeartbeat, "heartbeat.pi-1", "{}") }), ""},
		{"a report again", during(func(s *script) { s.report("pi-1", fleet.PhaseRunning, wanted) }), ""},
		{"a report again after one that was not seen", during(func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDeviceState, Key: "state.pi-1.web", Value: "{}", Missed: 1})
		}), ""},
		{"a list", during(func(s *script) { s.write(record.WriteListed, device("pi-1", "north")) }), ""},
		{"a tombstone's time is over", during(func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketResources, Key: "device.gone", Kind: record.OpExpire})
		}), ""},
		{"written before, recorded after the begin", during(func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Stamp: s.now.Add(-time.Minute)})
		}), ""},
		{"before and after", func(s *script) {
			s.say(status(1, 1, 0, 1))
			during(func(*script) {})(s)
			s.desire("pi-1", value(webUID, newScore))
		}, ""},
	})
}
