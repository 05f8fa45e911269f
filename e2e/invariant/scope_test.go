package invariant

import (
	"encoding/json"
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestScope(t *testing.T) {
	thenRest := func(f func(s *script)) func(s *script) {
		return func(s *script) { f(s); s.rest() }
	}
	wanted := value(webUID, oldScore)
	relabel := func(s *script) {
		s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Labels["region"] = "south" })
	}
	edit := func(s *script, f func(w *record.Write)) {
		s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation++; f(w) })
	}
	vanish := func(s *script) { s.write(record.WriteDeleted, *s.resources["Device/pi-1"]) }
	foreignDelete := func(s *script, key string) {
		s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: key, Kind: record.OpDelete})
	}
	hold := func(s *script) { s.own(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h"}`) }
	judged(t, scope, []example{
		{"a key is missing", thenRest(func(s *script) { foreignDelete(s, "pi-1.web") }), "pi-1.web is not in desired-state"},
		{"a new device has no key", thenRest(func(s *script) { s.write(record.WriteAdded, device("pi-4", "north")) }), "pi-4.web is not in"},
		{"a value is not canonical", thenRest(func(s *script) { s.put(fleet.BucketDesiredState, "pi-1.web", " "+wanted) }), "pi-1.web is not the canonical value"},
		{"an old score", thenRest(func(s *script) {
			edit(s, func(w *record.Write) { w.Spec = spec("north", newScore) })
			s.desire("pi-1", value(webUID, newScore))
		}), "pi-2.web is not the canonical value"},
		{"the edited selector leaves a device", thenRest(func(s *script) {
			foreignDelete(s, "pi-2.web")
			edit(s, func(w *record.Write) { w.Spec = spec("south", oldScore) })
			s.desire("pi-3", wanted)
		}), "pi-1.web is in desired-state"},
		{"a quarantined device keeps its key", thenRest(func(s *script) {
			s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Spec = json.RawMessage(`{"quarantined":true}`) })
		}), "pi-1.web is in desired-state"},
		{"a device that is being deleted keeps its key, hold or not", thenRest(func(s *script) {
			s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Deleting = true })
			hold(s)
		}), "pi-1.web is in desired-state"},
		{"a relabelled device keeps its key for too long", thenRest(func(s *script) {
			relabel(s)
			s.after(2 * time.Minute)
		}), "pi-1.web is in desired-state"},
		{"a vanished device keeps its key for too long", thenRest(func(s *script) {
			vanish(s)
			s.after(2 * time.Minute)
		}), "pi-1.web is in desired-state"},
		{"a hold holds back no put", thenRest(func(s *script) {
			hold(s)
			s.write(record.WriteAdded, device("pi-4", "north"))
		}), "pi-4.web is not in"},

		{"a key of a device that never was", thenRest(func(s *script) { s.desire("ghost", wanted) }), "ghost.web is in desired-state"},
		{"somebody else wrote a key of a device that never was", thenRest(func(s *script) {
			s.put(fleet.BucketDesiredState, "ghost.web", wanted)
			s.process(record.ProcessStarted, fleet.ServiceReconciler)
		}), ""},
		{"as it should be", thenRest(func(*script) {}), ""},
		{"not at rest", func(s *script) { foreignDelete(s, "pi-1.web"); s.restReady(false) }, ""},
		{"relabelled a moment ago", thenRest(func(s *script) { relabel(s); s.after(30 * time.Second) }), ""},
		{"relabelled, and a restart since", thenRest(func(s *script) {
			relabel(s)
			s.after(time.Minute).process(record.ProcessStarted, fleet.ServiceReconciler)
			s.after(30 * time.Second)
		}), ""},
		{"vanished under a hold", thenRest(func(s *script) { vanish(s); hold(s); s.after(time.Hour) }), ""},
		{"the Deployment is held", thenRest(func(s *script) {
			relabel(s)
			s.say(stalled(status(1, 2), fleet.ReasonHeld))
			s.after(time.Hour)
		}), ""},
		{"the Deployment is invalid", thenRest(func(s *script) {
			edit(s, func(w *record.Write) { w.Spec = spec("no region!", newScore) })
			s.say(stalled(status(2, 2), fleet.ReasonInvalid))
			s.write(record.WriteAdded, device("pi-4", "north"))
		}), ""},
		{"the finalizer is refused", thenRest(func(s *script) {
			d := device("pi-4", "north")
			d.Finalizers = nil
			s.write(record.WriteAdded, d)
		}), ""},
		{"an illegal key", thenRest(func(s *script) { s.put(fleet.BucketDesiredState, "a.b.c", "{}") }), ""},
		{"the specs of an older backup are back", thenRest(func(s *script) {
			edit(s, func(w *record.Write) { w.Spec = spec("north", newScore) })
			s.desire("pi-1", value(webUID, newScore))
			s.desire("pi-2", value(webUID, newScore))
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation, w.Spec = 1, spec("north", oldScore) })
			s.after(20 * time.Second)
		}), ""},
		{"a Deployment that is being deleted has no keys any more", thenRest(func(s *script) {
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Deleting = true })
			foreignDelete(s, "pi-1.web")
			foreignDelete(s, "pi-2.web")
		}), ""},
	})
}
