package invariant

import (
	"encoding/json"
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

func TestNoFalseRunning(t *testing.T) {
	wanted := value(webUID, oldScore)
	again := func(s *script) { // web is created again under its name
		s.write(record.WriteDeleted, *s.resources["Deployment/web"])
		s.write(record.WriteAdded, deployment(web, "another", "north", oldScore))
		s.desire("pi-1", value("another", oldScore))
	}
	edit := func(s *script) {
		s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation, w.Spec = 2, spec("north", newScore) })
		s.desire("pi-1", value(webUID, newScore))
		s.desire("pi-2", value(webUID, newScore))
		s.applied(webUID, 2)
	}
	stopped := func(service string) func(*script) {
		return func(s *script) {
			s.process(record.ProcessPaused, service)
			edit(s)
			s.say(status(1, 0, 0, 2))
			s.after(time.Minute).process(record.ProcessContinued, service)
			s.say(status(1, 2))
		}
	}
	judged(t, noFalseRunning, []example{
		{"one more than ever said so", func(s *script) { s.say(status(1, 3)) }, "counts 3 devices as running, but only 2"},
		{"one that is stale", func(s *script) { s.say(status(1, 2, 0, 0, 1)) }, "counts 3 devices"},
		{"a report about another value", func(s *script) {
			s.report("pi-3", fleet.PhaseRunning, value(webUID, newScore))
			s.say(status(1, 3))
		}, "only 2"},
		{"a report of pending", func(s *script) {
			s.desire("pi-3", wanted)
			s.report("pi-3", fleet.PhasePending, wanted)
			s.say(status(1, 3))
		}, "only 2"},
		{"reports about the Deployment of that name before", func(s *script) { again(s); s.say(status(1, 1)) }, "only 0"},
		{"the report comes after the status", func(s *script) {
			s.desire("pi-3", wanted)
			s.say(status(1, 3))
			s.after(5*time.Second).report("pi-3", fleet.PhaseRunning, wanted)
		}, "only 2"},

		{"an old success of the new generation", func(s *script) {
			edit(s)
			s.report("pi-1", fleet.PhaseRunning, value(webUID, newScore))
			s.say(status(2, 2))
		}, "counts 2 devices as running, but only 1"},
		{"an old success long after the edit, of the old generation", func(s *script) {
			edit(s)
			s.say(status(1, 0, 0, 2))
			s.after(20 * time.Second).say(status(1, 2))
		}, "only 0"},
		{"an old success that is reported after the edit", func(s *script) {
			s.desire("pi-3", wanted)
			s.desire("pi-3", value(webUID, newScore))
			s.after(20*time.Second).report("pi-3", fleet.PhaseRunning, wanted)
			s.say(status(1, 3))
		}, "only 2"},
		{"a stale one that ran what was wanted before", func(s *script) {
			edit(s)
			s.report("pi-1", fleet.PhaseRunning, value(webUID, newScore))
			s.say(status(2, 1, 0, 0, 1))
		}, "only 1"},
		{"a key that is gone", func(s *script) {
			s.remove("pi-1", fleet.CauseRelabelled)
			s.say(status(1, 1))
			s.after(20 * time.Second).say(status(1, 2))
		}, "only 1"},
		{"the same device is not counted twice", func(s *script) {
			edit(s)
			s.report("pi-1", fleet.PhaseRunning, value(webUID, newScore))
			s.report("pi-2", fleet.PhaseRunning, value(webUID, newScore))
			s.say(status(1, 3))
		}, "only 2"},

		{"more values not seen than there can be", func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-3.other", Missed: 1})
			s.report("pi-3", fleet.PhaseRunning, value(webUID, newScore))
			s.report("pi-4", fleet.PhaseRunning, value(webUID, newScore))
			s.say(status(1, 4))
		}, "counts 4 devices as running, but only 3"},

		{"those that said so", func(s *script) { s.say(status(1, 1, 0, 1)); s.say(status(1, 2)) }, ""},
		{"an old success just after the edit, of the old generation", func(s *script) { edit(s); s.say(status(1, 0, 0, 2)); s.say(status(1, 2)) }, ""},
		{"a new success", func(s *script) {
			edit(s)
			s.report("pi-1", fleet.PhaseRunning, value(webUID, newScore))
			s.report("pi-2", fleet.PhaseRunning, value(webUID, newScore))
			s.say(status(2, 2))
		}, ""},
		{"an edit to the same value", func(s *script) {
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation = 2 })
			s.applied(webUID, 2)
			s.after(time.Hour).say(status(2, 2))
		}, ""},
		{"edited there and back", func(s *script) {
			edit(s)
			s.desire("pi-1", wanted)
			s.desire("pi-2", wanted)
			s.applied(webUID, 3)
			s.after(time.Hour).say(status(3, 2))
		}, ""},
		{"the patcher was stopped over the edit", stopped(fleet.ServicePatcher), ""},
		{"the aggregator was stopped over the edit", stopped(fleet.ServiceAggregator), ""},
		{"desired-state was lost", func(s *script) {
			s.stream(fleet.BucketDesiredState, record.StreamGone, 0)
			s.after(time.Minute).say(status(1, 2))
			s.found(fleet.BucketDesiredState)
			s.say(status(1, 1, 0, 1))
			s.desire("pi-1", wanted)
			s.say(status(1, 2))
		}, ""},
		{"device-state was lost", func(s *script) {
			s.found(fleet.BucketDeviceState)
			s.after(time.Minute).say(status(1, 2, 0))
		}, ""},
		{"a value that was put again was not seen", func(s *script) {
			edit(s)
			s.after(time.Minute).op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Value: "{}", Missed: 1})
			s.say(status(1, 1))
		}, ""},
		{"the record of the generation was not seen at first", func(s *script) {
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation = 2 }) // to the same value
			s.say(status(2, 2))
			s.desire("pi-1", value(webUID, newScore))
			s.desire("pi-2", value(webUID, newScore))
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "_applied.web", Value: encoded(fleet.Applied{UID: webUID, Generation: 3}), Epoch: s.epochs[fleet.BucketDesiredState], Missed: 1})
		}, ""},
		{"one that said so once", func(s *script) {
			s.report("pi-1", fleet.PhaseFailed, wanted)
			s.say(status(1, 2))
		}, ""},
		{"the report is recorded a moment after the status", func(s *script) {
			s.desire("pi-3", wanted)
			s.say(status(1, 3))
			s.report("pi-3", fleet.PhaseRunning, wanted)
		}, ""},
		{"a report that was not seen", func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDeviceState, Key: "state.pi-3.web", Value: "{}", Missed: 1})
			s.say(status(1, 3))
		}, ""},
		{"a value that was not seen", func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-3.other", Missed: 1})
			s.report("pi-3", fleet.PhaseRunning, value(webUID, newScore))
			s.say(status(1, 3))
		}, ""},
		{"a person edits under an old status", func(s *script) {
			again(s)
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Labels = map[string]string{"a": "b"} })
		}, ""},
	})
}

func TestObservedGeneration(t *testing.T) {
	generation := func(s *script, n int64) {
		s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation = n })
	}
	judged(t, observedGeneration, []example{
		{"goes back", func(s *script) { generation(s, 2); s.say(status(2, 2)); s.say(status(1, 2)) }, "went back from 2 to 1"},
		{"is lost", func(s *script) { s.say(fleet.DeploymentStatus{}) }, "went back from 1 to 0"},
		{"is ahead", func(s *script) { s.say(status(2, 2)) }, "observedGeneration 2 is greater than the generation 1"},

		{"follows", func(s *script) { generation(s, 2); s.say(status(2, 2)) }, ""},
		{"of another uid", func(s *script) {
			d := deployment(web, "another", "north", oldScore)
			d.Status = json.RawMessage(encoded(status(0, 0)))
			s.write(record.WriteAdded, d)
		}, ""},
		{"an older backup, seen in a list", func(s *script) {
			generation(s, 2)
			s.say(status(2, 2))
			w := *s.resources["Deployment/web"]
			w.Generation, w.Status = 1, json.RawMessage(encoded(status(1, 2)))
			s.write(record.WriteListed, w)
			s.say(status(1, 1, 0, 1))
		}, ""},
		{"a lower generation is back under a status that is then lowered", func(s *script) {
			generation(s, 2)
			s.say(status(2, 2))
			generation(s, 1)
			s.say(status(1, 2))
		}, ""},
	})
}

func TestReadyMeansApplied(t *testing.T) {
	second := func(s *script) { // the score is edited
		s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation, w.Spec = 2, spec("north", newScore) })
		s.mirror(fleet.KindDeployment, web)
		s.after(time.Second)
	}
	write := func(s *script) {
		s.desire("pi-1", value(webUID, newScore))
		s.desire("pi-2", value(webUID, newScore))
	}
	ready := func(s *script) { s.after(8 * time.Second).say(status(2, 2)) }
	join := func(s *script) {
		s.write(record.WriteAdded, device("pi-4", "north"))
		s.mirror(fleet.KindDevice, "pi-4")
	}
	judged(t, readyMeansApplied, []example{
		{"never applied", func(s *script) { second(s); write(s); ready(s) }, "Ready at generation 2, which desired-state never had"},
		{"something was not seen long before the edit", func(s *script) {
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "x.y", Missed: 1})
			s.after(time.Minute)
			second(s)
			ready(s)
		}, "never had as applied"},
		{"applied of another uid", func(s *script) { second(s); write(s); s.applied("another", 2); ready(s) }, "never had as applied"},
		{"applied afterwards", func(s *script) {
			second(s)
			write(s)
			ready(s)
			s.after(5*time.Second).applied(webUID, 2)
		}, "never had as applied"},
		{"a key still has the old score", func(s *script) {
			second(s)
			s.desire("pi-1", value(webUID, newScore))
			s.applied(webUID, 2)
			ready(s)
		}, "pi-2.web has no key with its value"},
		{"a device in scope for long has no key", func(s *script) {
			join(s)
			s.after(10 * time.Second)
			second(s)
			write(s)
			s.applied(webUID, 2)
			ready(s)
		}, "pi-4.web has no key"},
		{"a key is deleted", func(s *script) {
			second(s)
			write(s)
			s.remove("pi-1", fleet.CauseEdited)
			s.applied(webUID, 2)
			ready(s)
		}, "pi-1.web has no key"},

		{"applied", func(s *script) { second(s); write(s); s.applied(webUID, 2); ready(s) }, ""},
		{"not Ready", func(s *script) { second(s); s.say(status(1, 0, 0, 2)) }, ""},
		{"a device came a moment before", func(s *script) {
			second(s)
			write(s)
			join(s)
			s.applied(webUID, 2)
			ready(s)
		}, ""},
		{"a device came after", func(s *script) { second(s); write(s); s.applied(webUID, 2); join(s); ready(s) }, ""},
		{"a device that is not mirrored", func(s *script) {
			s.write(record.WriteAdded, device("pi-4", "north"))
			s.after(10 * time.Second)
			second(s)
			write(s)
			s.applied(webUID, 2)
			ready(s)
		}, ""},
		{"a later generation is written already", func(s *script) {
			second(s)
			write(s)
			s.applied(webUID, 2)
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Generation, w.Spec = 3, spec("north", oldScore) })
			s.desire("pi-1", value(webUID, oldScore))
			ready(s)
		}, ""},
		{"somebody else deleted a key just now", func(s *script) {
			second(s)
			write(s)
			s.applied(webUID, 2)
			ready(s)
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "pi-1.web", Kind: record.OpDelete})
		}, ""},
		{"desired-state was lost", func(s *script) {
			second(s)
			s.applied(webUID, 2)
			s.stream(fleet.BucketDesiredState, record.StreamGone, 0)
			ready(s)
		}, ""},
		{"something was not seen since the edit", func(s *script) {
			second(s)
			s.op(record.Op{Bucket: fleet.BucketDesiredState, Key: "x.y", Missed: 1})
			ready(s)
		}, ""},
		{"an edit while Ready", func(s *script) { second(s) }, ""},
	})
}

func TestStatusAddsUp(t *testing.T) {
	with := func(f func(st *fleet.DeploymentStatus)) func(s *script) {
		return func(s *script) {
			st := status(1, 1, 0, 0, 1)
			f(&st)
			s.say(st)
		}
	}
	judged(t, statusAddsUp, []example{
		{"matched", with(func(st *fleet.DeploymentStatus) { st.Aggregate.MatchedDeviceCount = 3 }), "matches 3 devices but counts 2"},
		{"stale", with(func(st *fleet.DeploymentStatus) { st.Aggregate.StaleLastKnown.Failed = 1 }), "1 stale devices but says of 2"},
		{"negative", with(func(st *fleet.DeploymentStatus) { st.Aggregate.Pending, st.Aggregate.Running = -1, 2 }), "negative"},
		{"Ready with pending", with(func(st *fleet.DeploymentStatus) { st.Aggregate = status(1, 1, 0, 1).Aggregate }), "Ready with 0 failed, 1 pending"},
		{"Ready with a stale one that never ran", with(func(st *fleet.DeploymentStatus) { st.Aggregate = status(1, 1, 0, 0, 0, 0, 1).Aggregate }), "0 of 1 stale"},
		{"Ready and Stalled", with(func(st *fleet.DeploymentStatus) { st.Conditions[2].Status = fleet.ConditionTrue }), "Ready, and Reconciling or Stalled"},
		{"no status at all", func(s *script) {
			s.change(fleet.KindDeployment, web, func(w *record.Write) { w.Status = json.RawMessage(`{"aggregate":3}`) })
		}, "cannot be read"},

		{"as it is", with(func(*fleet.DeploymentStatus) {}), ""},
		{"nothing matched", func(s *script) { s.say(status(1)) }, ""},
		{"a status of a Device", func(s *script) {
			s.change(fleet.KindDevice, "pi-1", func(w *record.Write) { w.Status = json.RawMessage(`{"state":"Fresh"}`) })
		}, ""},
	})
}
