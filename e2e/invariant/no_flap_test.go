package invariant

import (
	"encoding/json"
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestNoFlap(t *testing.T) {
	wanted := value(webUID, oldScore)
	region := func(s *script, to string) {
		s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Labels["region"] = to })
		s.mirror(fleet.KindDevice, "pi-1")
	}
	judged(t, noFlap, []example{
		{"an equal value is written again", func(s *script) { s.desire("pi-1", wanted) }, "again at"},
		{"a wanted key is deleted and put back", func(s *script) {
			s.remove("pi-1", fleet.CauseRelabelled)
			s.after(time.Second).desire("pi-1", wanted)
		}, "stayed the same"},
		{"also when messages between were not seen", func(s *script) {
			s.remove("pi-1", fleet.CauseVanished)
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "other.key", Missed: 4})
			s.desire("pi-1", wanted)
		}, "stayed the same"},
		{"the mirror flapped, the apiserver did not", func(s *script) {
			s.own(fleet.BucketResources, "device.pi-1", `{"tombstone":{"cause":"vanished","at":"2026-03-01T12:00:00Z"}}`)
			s.remove("pi-1", fleet.CauseVanished)
			s.mirror(fleet.KindDevice, "pi-1")
			s.desire("pi-1", wanted)
		}, "stayed the same"},
		{"only the status of the device changed meanwhile", func(s *script) {
			s.remove("pi-1", fleet.CauseRelabelled)
			s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Status = json.RawMessage(`{"state":"Fresh"}`) })
			s.desire("pi-1", wanted)
		}, "stayed the same"},
		{"the wish was old when the apiserver changed last", func(s *script) {
			region(s, "south")
			region(s, "north")
			s.after(10*time.Second).remove("pi-1", fleet.CauseRelabelled)
			s.desire("pi-1", wanted)
		}, "stayed the same"},

		{"what is lost is in another bucket, and a write is no loss", func(s *script) {
			s.fault("purge", fleet.BucketResources, fleet.BucketResources)
			s.fault("raw-write", "desired-state/pi-2.web")
			s.desire("pi-1", wanted)
		}, "again at"},

		{"the device lost its label and got it back", func(s *script) {
			region(s, "south")
			s.after(11*time.Second).remove("pi-1", fleet.CauseRelabelled)
			region(s, "north")
			s.desire("pi-1", wanted)
		}, ""},
		{"the write to the resource is delivered late", func(s *script) {
			s.remove("pi-1", fleet.CauseRelabelled)
			s.desire("pi-1", wanted)
			region(s, "south")
			region(s, "north")
		}, ""},
		{"the mirror lay behind", func(s *script) {
			s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Labels["region"] = "south" })
			s.mirror(fleet.KindDevice, "pi-1")
			s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Labels["region"] = "north" })
			s.after(8*time.Second).remove("pi-1", fleet.CauseRelabelled)
			s.mirror(fleet.KindDevice, "pi-1")
			s.desire("pi-1", wanted)
		}, ""},
		{"a reconciler was stopped between plan and write", func(s *script) {
			region(s, "south")
			s.process(record.ProcessPaused, fleet.ServiceReconciler)
			region(s, "north")
			s.after(time.Minute).process(record.ProcessContinued, fleet.ServiceReconciler)
			s.remove("pi-1", fleet.CauseRelabelled)
			s.desire("pi-1", wanted)
		}, ""},
		{"quarantined and released", func(s *script) {
			set := func(spec string) {
				s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Spec = json.RawMessage(spec) })
			}
			set(`{"quarantined":true}`)
			s.remove("pi-1", fleet.CauseQuarantined)
			set(`{}`)
			s.desire("pi-1", wanted)
		}, ""},
		{"the device was created again", func(s *script) {
			s.write(record.WriteDeleted, device("pi-1", "north"))
			s.remove("pi-1", fleet.CauseDeleted)
			d := device("pi-1", "north")
			d.UID = "another"
			s.write(record.WriteAdded, d)
			s.desire("pi-1", wanted)
		}, ""},
		{"what happened to the device is only known from a list", func(s *script) {
			s.remove("pi-1", fleet.CauseDeleted)
			s.desire("pi-1", wanted)
			s.after(20 * time.Second)
			s.write(record.WriteListed, device("pi-1", "north"))
		}, ""},
		{"another value", func(s *script) { s.desire("pi-1", value(webUID, newScore)) }, ""},
		{"a foreign value is written over", func(s *script) {
			s.put(fleet.BucketDesiredState, "pi-1.web", "foreign")
			s.desire("pi-1", wanted)
		}, ""},
		{"a foreign marker is written over", func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Kind: record.OpDelete})
			s.desire("pi-1", wanted)
		}, ""},
		{"something between was not seen", func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Value: wanted, Epoch: s.epochs[fleet.BucketDesiredState], Missed: 1})
		}, ""},
		{"the stream was emptied, and that seen late", func(s *script) {
			s.desire("pi-1", wanted)
			s.stream(fleet.BucketDesiredState, record.StreamEmptied, 0)
		}, ""},
		{"a fault took the key", func(s *script) {
			s.fault("purge", "it", fleet.BucketDesiredState)
			s.after(5 * time.Second)
			s.desire("pi-1", wanted)
		}, ""},
		{"a new incarnation", func(s *script) {
			s.found(fleet.BucketDesiredState)
			s.take(fleet.BucketDesiredState, "reconciler-1")
			s.desire("pi-1", wanted)
		}, ""},
	})
}
