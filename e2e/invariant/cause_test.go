package invariant

import (
	"encoding/json"
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestNoEarlyDelete_Cause(t *testing.T) {
	const inScope = "but the pair was in scope all the time"
	const mirror = fleet.BucketResources
	tombstone := func(s *script, cause fleet.TombstoneCause) {
		s.own(mirror, "device.pi-1", encoded(fleet.MirrorDevice{Tombstone: &fleet.Tombstone{UID: "uid-pi-1", Cause: cause, At: s.now}}))
	}
	vanish := func(s *script) {
		s.write(record.WriteDeleted, *s.resources["Device/pi-1"])
		tombstone(s, fleet.TombstoneVanished)
	}
	set := func(s *script, f func(w *record.Write)) {
		s.change(fleet.KindDevice, "pi-1", f)
		s.mirror(fleet.KindDevice, "pi-1")
	}
	recreate := func(s *script, region string) {
		set(s, func(w *record.Write) { w.Deleting = true })
		s.write(record.WriteDeleted, *s.resources["Device/pi-1"])
		s.mirror(fleet.KindDevice, "pi-1")
		s.write(record.WriteAdded, device("pi-1", region))
		s.mirror(fleet.KindDevice, "pi-1")
	}
	relabel := func(s *script) { set(s, func(w *record.Write) { w.Labels["region"] = "south" }) }
	edit := func(s *script) { // web goes south
		s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation, w.Spec = 2, spec("south", oldScore) })
		s.mirror(fleet.KindDeployment, web)
	}
	judged(t, noEarlyDelete, []example{
		{"a pair in scope", func(s *script) { s.remove("pi-1", fleet.CauseRelabelled) }, inScope},
		{"a pair back in scope for long", func(s *script) {
			relabel(s)
			set(s, func(w *record.Write) { w.Labels["region"] = "north" })
			s.after(time.Minute).remove("pi-1", fleet.CauseRelabelled)
		}, inScope},
		{"deleted, but it vanished", func(s *script) { vanish(s); s.remove("pi-1", fleet.CauseDeleted) }, "neither the Deployment nor the Device was deleted"},
		{"deleted, but it was relabelled", func(s *script) { relabel(s); s.remove("pi-1", fleet.CauseDeleted) }, "neither the Deployment"},
		{"deleted, but it is there again for long", func(s *script) {
			recreate(s, "south")
			s.after(time.Minute).remove("pi-1", fleet.CauseDeleted)
		}, "neither the Deployment"},
		{"quarantined, but it was relabelled", func(s *script) { relabel(s); s.remove("pi-1", fleet.CauseQuarantined) }, "the Device was not quarantined"},
		{"edited, but it was relabelled", func(s *script) { relabel(s); s.remove("pi-1", fleet.CauseEdited) }, "generation 1 was applied already"},
		{"edited, but under another uid", func(s *script) {
			d := deployment(web, "another", "south", oldScore)
			d.Generation = 7
			s.write(record.WriteAdded, d)
			s.mirror(fleet.KindDeployment, web)
			s.remove("pi-1", fleet.CauseEdited)
		}, "generation 1 was applied already"},
		{"edited, but that was applied", func(s *script) {
			edit(s)
			s.applied(webUID, 2)
			s.remove("pi-1", fleet.CauseEdited)
		}, "generation 2 was applied already"},

		{"deleted", func(s *script) {
			set(s, func(w *record.Write) { w.Deleting = true })
			s.remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"the Deployment is deleted", func(s *script) {
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Deleting = true })
			s.mirror(fleet.KindDeployment, web)
			s.remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"deleted long ago", func(s *script) {
			set(s, func(w *record.Write) { w.Deleting = true })
			s.write(record.WriteDeleted, *s.resources["Device/pi-1"])
			s.mirror(fleet.KindDevice, "pi-1")
			s.after(time.Hour).remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"its tombstone says deleted, whatever the apiserver says", func(s *script) {
			s.write(record.WriteDeleted, *s.resources["Device/pi-1"])
			tombstone(s, fleet.TombstoneDeleted)
			s.after(time.Hour).remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"its tombstone was set right", func(s *script) {
			vanish(s)
			tombstone(s, fleet.TombstoneDeleted)
			s.after(time.Hour).remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"deleted, of which only its wait for finalizers was seen", func(s *script) {
			s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Deleting = true })
			s.write(record.WriteDeleted, device("pi-1", "north"))
			s.after(time.Minute).remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"the mirror was read late", func(s *script) {
			s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Deleting = true })
			s.remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"deleted and there again a moment ago", func(s *script) {
			recreate(s, "north")
			s.after(5*time.Second).remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"quarantined", func(s *script) {
			set(s, func(w *record.Write) { w.Spec = json.RawMessage(`{"quarantined":true}`) })
			s.remove("pi-1", fleet.CauseQuarantined)
		}, ""},
		{"vanished", func(s *script) { vanish(s); s.after(time.Minute).remove("pi-1", fleet.CauseVanished) }, ""},
		{"edited", func(s *script) { edit(s); s.remove("pi-1", fleet.CauseEdited); s.applied(webUID, 2) }, ""},
		{"edited before anything was applied", func(s *script) {
			edit(s)
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "_applied.web", Kind: record.OpDelete, Epoch: s.epochs[fleet.BucketDesiredState]})
			s.remove("pi-1", fleet.CauseEdited)
		}, ""},
		{"edited, and somebody else wrote the record", func(s *script) {
			edit(s)
			s.applied(webUID, 2)
			s.put(fleet.BucketDesiredState, "_applied.web", encoded(fleet.Applied{UID: webUID, Generation: 2}))
			s.remove("pi-1", fleet.CauseEdited)
		}, ""},
		{"edited, and something was not seen since", func(s *script) {
			edit(s)
			s.applied(webUID, 2)
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Kind: record.OpDelete, Missed: 1, Epoch: s.epochs[fleet.BucketDesiredState], Cause: fleet.CauseEdited})
		}, ""},
		{"a foreign key of a pair that never was", func(s *script) {
			s.put(fleet.BucketDesiredState, "ghost.web", "{}")
			s.remove("ghost", fleet.CauseVanished)
		}, ""},
		{"the mirror lost something", func(s *script) {
			s.fault("lost-keys", "it", mirror)
			s.after(2*time.Second).remove("pi-1", fleet.CauseVanished)
		}, ""},
		{"a mirror entry that cannot be read", func(s *script) {
			s.own(mirror, "device.pi-1", "{")
			s.remove("pi-1", fleet.CauseDeleted)
		}, ""},
		{"a reconciler was stopped before the device came back", func(s *script) {
			relabel(s)
			s.process(record.ProcessPaused, fleet.ServiceReconciler)
			set(s, func(w *record.Write) { w.Labels["region"] = "north" })
			s.after(time.Minute).process(record.ProcessContinued, fleet.ServiceReconciler)
			s.remove("pi-1", fleet.CauseRelabelled)
		}, ""},
	})
}
