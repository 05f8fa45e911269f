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
			s.after(20*time.Second).remove("pi-1", fleet.CauseRelabelled)
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

func TestNoFlap_NobodyWantedIt(t *testing.T) {
	const nobody, older = "nobody wanted there", "generation older than 2, which is applied since"
	const third = `{"type":"sim","data":{"v":3}}`
	was, is := value(webUID, oldScore), value(webUID, newScore)
	setAPI := func(s *script, generation int64, score string) {
		s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation, w.Spec = generation, spec("north", score) })
	}
	set := func(s *script, generation int64, score string) {
		setAPI(s, generation, score)
		s.mirror(fleet.KindDeployment, web)
	}
	entry := func(generation int64, score string) string { // of the mirror
		m := fleet.MirrorDeployment{UID: webUID, Generation: generation}
		check(json.Unmarshal(spec("north", score), &m))
		return encoded(m)
	}
	write := func(s *script) { // what the edit asks for
		s.desire("pi-1", is)
		s.desire("pi-2", is)
		s.applied(webUID, 2)
	}
	join := func(s *script) {
		s.write(record.WriteAdded, device("pi-4", "north"))
		s.mirror(fleet.KindDevice, "pi-4")
	}
	judged(t, noFlap, []example{
		{"an old value, corrected later", func(s *script) {
			set(s, 2, newScore)
			s.desire("pi-1", is)
			s.after(20*time.Second).desire("pi-1", was)
			s.desire("pi-1", is)
		}, nobody},
		{"a key too many, deleted later", func(s *script) {
			s.desire("pi-3", was)
			s.remove("pi-3", fleet.CauseRelabelled)
		}, nobody},
		{"a key of a device that never was", func(s *script) { s.desire("ghost", was) }, nobody},
		{"of a Deployment that is gone for long", func(s *script) {
			s.write(record.WriteDeleted, *s.resources["Deployment/web"])
			s.mirror(fleet.KindDeployment, web)
			s.after(20*time.Second).desire("pi-2", is)
		}, nobody},
		{"of another uid", func(s *script) { s.desire("pi-1", value("another", oldScore)) }, nobody},
		{"into a bucket that was lost", func(s *script) {
			s.fault("purge", "it", fleet.BucketDesiredState)
			s.desire("pi-3", was)
		}, nobody},
		{"an old value as soon as the new one is applied", func(s *script) {
			set(s, 2, newScore)
			write(s)
			s.desire("pi-1", was)
			s.desire("pi-1", is)
		}, older},
		{"by a reconciler that was stopped", func(s *script) {
			set(s, 2, newScore)
			s.process(record.ProcessPaused, fleet.ServiceReconciler)
			write(s)
			s.after(time.Minute).process(record.ProcessContinued, fleet.ServiceReconciler)
			s.desire("pi-1", was)
		}, older},

		{"an edit", func(s *script) { set(s, 2, newScore); write(s) }, ""},
		{"an edit that is recorded late", func(s *script) { s.desire("pi-1", is); set(s, 2, newScore) }, ""},
		{"the edit came while the batch was repeated", func(s *script) {
			join(s)
			set(s, 2, newScore)
			s.after(10*time.Second).desire("pi-4", was)
		}, ""},
		{"a reconciler was stopped before the edit", func(s *script) {
			join(s)
			s.process(record.ProcessPaused, fleet.ServiceReconciler)
			set(s, 2, newScore)
			s.after(time.Minute).process(record.ProcessContinued, fleet.ServiceReconciler)
			s.desire("pi-4", was)
		}, ""},
		{"the edit is not mirrored", func(s *script) {
			join(s)
			setAPI(s, 2, newScore)
			s.after(time.Minute).desire("pi-4", was)
		}, ""},
		{"an edit to the same value", func(s *script) {
			set(s, 2, oldScore)
			s.applied(webUID, 2)
			join(s)
			s.desire("pi-4", was)
		}, ""},
		{"edited there and back", func(s *script) {
			set(s, 2, newScore)
			write(s)
			set(s, 3, oldScore)
			s.desire("pi-1", was)
		}, ""},
		{"the Deployment is invalid", func(s *script) {
			join(s)
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation, w.Spec = 2, spec("no region!", newScore) })
			s.mirror(fleet.KindDeployment, web)
			s.after(time.Minute).desire("pi-4", was)
		}, ""},
		{"the Deployment lost its finalizer, and an edit is not mirrored", func(s *script) {
			join(s)
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Finalizers = nil })
			setAPI(s, 2, newScore)
			s.after(time.Minute).desire("pi-4", was)
		}, ""},
		{"the Deployment went back", func(s *script) {
			set(s, 2, newScore)
			write(s)
			set(s, 1, oldScore)
			s.after(20*time.Second).desire("pi-1", was)
			s.desire("pi-2", was)
			s.applied(webUID, 1)
		}, ""},
		{"the Deployment went back and forth", func(s *script) {
			set(s, 2, newScore)
			write(s)
			set(s, 1, oldScore)
			set(s, 2, newScore)
			s.desire("pi-1", was)
		}, ""},
		{"the Deployment went back, and only a list shows it", func(s *script) {
			set(s, 2, newScore)
			write(s)
			w := *s.resources["Deployment/web"]
			w.Generation, w.Spec = 1, spec("north", oldScore)
			s.write(record.WriteListed, w)
			s.mirror(fleet.KindDeployment, web)
			s.after(20*time.Second).desire("pi-1", was)
		}, ""},
		{"an old mirror is back", func(s *script) {
			set(s, 2, newScore)
			s.after(time.Minute).found(fleet.BucketResources)
			s.take(fleet.BucketResources, "patcher-1")
			s.own(fleet.BucketResources, "deployment.web", entry(1, oldScore))
			join(s)
			s.desire("pi-4", was)
		}, ""},
		{"the mirror lost something", func(s *script) {
			s.fault("lost-keys", "it", fleet.BucketResources)
			s.desire("pi-3", was)
		}, ""},
		{"messages of the mirror were not seen", func(s *script) {
			setAPI(s, 2, newScore)
			setAPI(s, 3, third)
			s.after(20 * time.Second)
			s.op(record.Op{Bucket: fleet.BucketResources, Key: "deployment.web", Missed: 1, Epoch: s.epochs[fleet.BucketResources], Value: entry(3, third)})
			s.desire("pi-1", is)
		}, ""},
		{"a device of which something was not seen", func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketResources, Key: "device.pi-9", Missed: 1, Epoch: s.epochs[fleet.BucketResources], Value: "{}"})
			s.write(record.WriteAdded, device("ghost", "north"))
			s.desire("ghost", was)
		}, ""},
		{"somebody else wrote the record", func(s *script) {
			set(s, 2, newScore)
			write(s)
			s.put(fleet.BucketDesiredState, "_applied.web", encoded(fleet.Applied{UID: webUID, Generation: 2}))
			s.desire("pi-1", was)
		}, ""},
		{"somebody else wrote the key", func(s *script) { s.put(fleet.BucketDesiredState, "pi-3.web", was) }, ""},
		{"an old desired-state is back", func(s *script) {
			stamp := s.now
			set(s, 2, newScore)
			write(s)
			s.after(time.Hour).found(fleet.BucketDesiredState)
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Value: was, Epoch: 90, Stamp: stamp})
		}, ""},
		{"the device came back", func(s *script) {
			s.write(record.WriteDeleted, device("pi-1", "north"))
			s.mirror(fleet.KindDevice, "pi-1")
			s.remove("pi-1", fleet.CauseVanished)
			s.after(time.Minute).write(record.WriteAdded, device("pi-1", "north"))
			s.mirror(fleet.KindDevice, "pi-1")
			s.desire("pi-1", was)
		}, ""},
	})
}
