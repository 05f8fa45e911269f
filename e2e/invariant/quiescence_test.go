package invariant

import (
	"encoding/json"
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestQuiescence(t *testing.T) {
	wanted := value(webUID, oldScore)
	atRest := func(f func(s *script)) func(s *script) {
		return func(s *script) {
			s.rest()
			s.after(2 * time.Second)
			f(s)
		}
	}
	rewrite := func(s *script) { s.desire("pi-1", value(webUID, newScore)) }
	deviceStatus := func(s *script, st string) {
		s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Status = json.RawMessage(st) })
	}
	judged(t, quiescence, []example{
		{"a desired value", atRest(rewrite), "put of pi-1.web"},
		{"a certain delete", atRest(func(s *script) { s.remove("pi-1", fleet.CauseEdited) }), "delete of pi-1.web"},
		{"an entry of the mirror", atRest(func(s *script) { s.mirror(fleet.KindDevice, "pi-1") }), "fleet-resources: put of device.pi-1"},
		{"what is applied is recorded again", atRest(func(s *script) { s.applied(webUID, 1) }), "put of _applied.web"},
		{"another generation is recorded as applied", atRest(func(s *script) { s.applied(webUID, 2) }), "put of _applied.web"},
		{"the record goes", atRest(func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "_applied.web", Kind: record.OpDelete, Epoch: s.epochs[fleet.BucketDesiredState]})
		}), "delete of _applied.web"},
		{"a hold again", func(s *script) {
			s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h"}`)
			atRest(func(s *script) { s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h"}`) })(s)
		}, "put of _hold"},
		{"_synced again", atRest(func(s *script) {
			s.own(fleet.BucketResources, fleet.KeySynced, encoded(fleet.Synced{Epoch: s.epochs[fleet.BucketResources]}))
		}), "put of _synced"},
		{"a fence by itself", atRest(func(s *script) { s.own(fleet.BucketDesiredState, "_fence", "x") }), "put of _fence"},
		{"a status", atRest(func(s *script) { s.say(status(1, 1, 0, 1)) }), "status of Deployment web was written"},
		{"a status of a device", atRest(func(s *script) { deviceStatus(s, `{"agentVersion":"2"}`) }), "status of Device pi-1"},
		{"only the first of each time", atRest(func(s *script) { rewrite(s); s.after(5 * time.Second); s.say(status(1, 1, 0, 1)) }), "put of pi-1.web"},
		{"a report that says the same causes nothing", func(s *script) {
			s.report("pi-1", fleet.PhaseRunning, wanted)
			s.rest()
			s.after(2*time.Second).report("pi-1", fleet.PhaseRunning, wanted)
			rewrite(s)
		}, "put of pi-1.web"},
		{"a heartbeat causes nothing", atRest(func(s *script) { s.put(fleet.BucketDeviceHeartbeat, "heartbeat.pi-1", "{}"); rewrite(s) }), "put of pi-1.web"},
		{"a cause comes long after", atRest(func(s *script) { rewrite(s); s.after(5*time.Second).fault("cut", "") }), "put of pi-1.web"},

		{"nothing", atRest(func(*script) {}), ""},
		{"not at rest", func(s *script) { s.restReady(false); rewrite(s) }, ""},
		{"a lease, an epoch, and that it is served", atRest(func(s *script) { s.lease(fleet.BucketDesiredState, "reconciler-1"); s.vouch() }), ""},
		{"the lease ends", atRest(func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketLeases, Key: fleet.KeyLease, Kind: record.OpExpire})
		}), ""},
		{"what is applied is recorded after an edit", atRest(func(s *script) {
			s.applied(webUID, 2)
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation++ })
		}), ""},
		{"that the deletes wait is recorded before the hold", atRest(func(s *script) {
			s.own(fleet.BucketDesiredState, "_applied.web", encoded(fleet.Applied{UID: webUID, Generation: 1, Held: "h"}))
			s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h"}`)
		}), ""},
		{"a hold is approved", func(s *script) {
			s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h"}`)
			atRest(func(s *script) { s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h","approved":true}`) })(s)
		}, ""},
		{"a hold again after a message that was not seen", func(s *script) {
			s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h"}`)
			atRest(func(s *script) {
				s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: fleet.KeyLease, Missed: 1})
				s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h"}`)
			})(s)
		}, ""},
		{"after an edit", atRest(func(s *script) {
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation++ })
			rewrite(s)
			s.say(status(2, 2))
		}), ""},
		{"after a fault", atRest(func(s *script) { s.fault("cut", ""); rewrite(s) }), ""},
		{"after a process ended", atRest(func(s *script) { s.process(record.ProcessKilled, fleet.ServicePatcher); rewrite(s) }), ""},
		{"after another report", atRest(func(s *script) { s.report("pi-1", fleet.PhaseFailed, wanted); s.say(status(1, 1, 1)) }), ""},
		{"the report is recorded a moment after the status", atRest(func(s *script) { s.say(status(1, 1, 1)); s.report("pi-1", fleet.PhaseFailed, wanted) }), ""},
		{"after a foreign write", atRest(func(s *script) { s.put(fleet.BucketDesiredState, "pi-1.web", "x"); rewrite(s) }), ""},
		{"after a write of the scenario", atRest(func(s *script) { s.add(record.Event{Ack: &record.Ack{}}); rewrite(s) }), ""},
		{"the stream is gone", atRest(func(s *script) { s.stream(fleet.BucketDesiredState, record.StreamGone, 0); rewrite(s) }), ""},
		{"a device falls silent", atRest(func(s *script) { s.say(status(1, 1, 0, 0, 1)) }), ""},
		{"a device is shown as silent, and mirrored so", atRest(func(s *script) {
			deviceStatus(s, `{"state":"Stale"}`)
			s.mirror(fleet.KindDevice, "pi-1")
		}), ""},
		{"a doubtful delete was due", atRest(func(s *script) { s.remove("pi-1", fleet.CauseRelabelled); s.say(status(1, 1)) }), ""},
		{"a hold was due", atRest(func(s *script) {
			s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h"}`)
			s.say(stalled(status(1, 2), fleet.ReasonHeld))
		}), ""},
		{"written before the rest, recorded after it", func(s *script) {
			before := s.now
			s.say(status(1, 1, 0, 1))
			last := s.rec[len(s.rec)-1]
			s.rec = s.rec[:len(s.rec)-1]
			s.rest()
			s.add(last)
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Epoch: s.epochs[fleet.BucketDesiredState], Stamp: before})
		}, ""},
		{"at the very end, where a cause may not have been read", func(s *script) {
			s.after(time.Hour).rest()
			s.after(2 * time.Second)
			rewrite(s)
			s.after(-11 * time.Second)
		}, ""},
	})
}
