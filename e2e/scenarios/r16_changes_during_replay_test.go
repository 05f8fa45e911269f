package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   the services are killed, started again, and stalled in the middle of reading their buckets; meanwhile
// Deployments and Devices are created, changed, deleted, and re-created under the same name, by what order chance
// has; the devices are cut off, so that of what is re-created only the old reports are there.
// Promise: nothing is written before all is read; an old report never counts for the new uid; in the end
// everything is as after the same changes without the restart; what was not changed is not rewritten.
// Budget:  correct within 30 s of the end of the stall.
// Found:   -
func TestR16_ChangesDuringReplay(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	seed := lab.Seed(t)
	patcher := s.Start(fleet.ServicePatcher)
	// What a person strips of its finalizers vanishes. How many may is for another scenario to try.
	reconciler := s.Start(fleet.ServiceReconciler, "--brake-quiet", "1s", "--brake-max-wait", "6s", "--brake-min", "1000")
	aggregator := s.Start(fleet.ServiceAggregator, "--rebuild-for", "5s") // else new pairs of absent devices wait for a minute
	s.WaitReady(3)

	var calm map[string]string
	for i, round := range []struct {
		name   string
		killed []*lab.Instance
	}{
		{"without a restart", nil},
		{"all replay", []*lab.Instance{patcher, reconciler, aggregator}},
		{"readers replay", []*lab.Instance{reconciler, aggregator}},
	} {
		t.Run(round.name, func(t *testing.T) {
			r := &changes{
				t: t, s: s, round: fmt.Sprintf("r%d", i+1), killed: round.killed,
				rng: rand.New(rand.NewPCG(seed, uint64(i))),
			}
			final := r.run()
			if calm == nil {
				calm = final
			}
			if d := lab.Changed("", calm, final); len(d) > 0 {
				t.Errorf("not the same as without the restart: %q", d)
			}
		})
	}
}

// changes is one round of them, on Deployments and devices of its own.
type changes struct {
	t      *testing.T
	s      *lab.Stack
	round  string
	killed []*lab.Instance
	rng    *rand.Rand

	devices *lab.Instance
	again   *lab.Statuses
}

func (r *changes) run() map[string]string {
	t, s := r.t, r.s
	r.set()
	before := s.AtRest()

	fault.Inject(s, fault.RefuseNATS{r.devices})
	if r.killed == nil {
		r.apply()
	} else {
		r.replaying(before)
	}
	healed := time.Now()
	s.WaitReady(3)

	// Only old reports are there: they count for nothing that was re-created.
	r.settled("again", counts(8, 0, 0, 8, 0))
	r.settled("twice", counts(2, 0, 0, 2, 0))
	s.Measured("end of the stall to correct statuses", time.Since(healed), 30*time.Second)
	r.noOldReport()

	fault.Heal(s, fault.RefuseNATS{r.devices})
	registered(t, s, len(devicesOf(before))+1) // the new one; of those that were deleted, both are back
	r.settled("keep", counts(4, 4, 0, 0, 0))
	r.settled("edit", counts(2, 2, 0, 0, 0))
	r.settled("narrow", counts(3, 2, 0, 1, 0))
	r.settled("again", counts(9, 8, 0, 1, 0))
	r.settled("twice", counts(3, 2, 0, 1, 0))
	r.settled("canary", counts(1, 1, 0, 0, 0))
	r.settled("new", counts(5, 4, 0, 1, 0))
	for _, name := range []string{"drop", "fleeting"} {
		s.Eventually(20*time.Second, name+" is gone", func(ctx context.Context) error {
			return s.API.Gone(ctx, fleet.KindDeployment, r.id(name))
		})
	}
	after := s.AtRest()
	r.unchanged(before, after)
	return r.final(after)
}

// set brings up what is to be changed, healthy.
func (r *changes) set() {
	s := r.s
	before := len(devicesOf(s.MustPicture()))
	r.devices = s.StartDevices(8, "--prefix", r.round+"-", "--label-cycle", "round="+r.round)
	registered(r.t, s, before+8)
	r.label("0008", "role=canary")
	s.API.Apply(r.deployment("keep", "south", "west"))
	s.API.Apply(r.deployment("edit", "east"))
	s.API.Apply(r.deployment("narrow", "north", "east"))
	s.API.Apply(r.deployment("drop", "south"))
	s.API.Apply(r.deployment("again", "north", "east", "south", "west"))
	s.API.Apply(r.deployment("twice", "west"))
	s.API.Apply(r.canary())
	r.settled("keep", counts(4, 4, 0, 0, 0))
	r.settled("edit", counts(2, 2, 0, 0, 0))
	r.settled("narrow", counts(4, 4, 0, 0, 0))
	r.settled("drop", counts(2, 2, 0, 0, 0))
	r.settled("again", counts(8, 8, 0, 0, 0))
	r.settled("twice", counts(2, 2, 0, 0, 0))
	r.settled("canary", counts(1, 1, 0, 0, 0))
	r.again = s.API.RecordStatuses(r.id("again"))
}

// replaying makes the changes while the services that were killed are in the middle of reading.
func (r *changes) replaying(before lab.Picture) {
	s := r.s
	fault.Inject(s, fault.Kill(r.killed))
	stall := fault.NewStall(3, r.killed...)
	fault.Inject(s, stall)
	fault.Heal(s, fault.Kill(r.killed))
	stall.Await(s)
	r.apply()
	now := s.MustPicture()
	if d := lab.Changed("", before.Keys[fleet.BucketDesiredState], now.Keys[fleet.BucketDesiredState]); len(d) > 0 {
		r.t.Errorf("written from half a view: %q", d)
	}
	for name, resource := range before.Resources {
		is, ok := now.Resources[name]
		if strings.HasPrefix(name, fleet.KindDeployment+"/") && ok && is.Status != resource.Status && is.Status != "null" && is.Status != "" {
			r.t.Errorf("the status of %s was written from half a view: %s", name, is.Status)
		}
	}
	fault.Heal(s, stall)
}

// apply makes the changes. Those of one resource are made in order, else chance decides.
func (r *changes) apply() {
	s := r.s
	apply := func(d lab.Deployment) func() { return func() { s.API.Apply(d) } }
	remove := func(kind, name string) func() { return func() { r.remove(kind, name) } }
	edited := r.deployment("edit", "east")
	edited.Score.Data = json.RawMessage(`{"image":"demo:2"}`)
	work := [][]func(){
		{apply(r.deployment("new", "north", "west"))},
		{apply(edited)},
		{apply(r.deployment("narrow", "north"))},
		{func() { s.API.Delete(fleet.KindDeployment, r.id("drop")) }},
		{remove(fleet.KindDeployment, "again"), apply(r.deployment("again", "north", "east", "south", "west"))},
		{
			remove(fleet.KindDeployment, "twice"), apply(r.deployment("twice", "south")),
			remove(fleet.KindDeployment, "twice"), apply(r.deployment("twice", "east")), apply(r.deployment("twice", "north")),
		},
		{apply(r.deployment("fleeting", "north")), remove(fleet.KindDeployment, "fleeting")},
		{remove(fleet.KindDevice, "0005")}, // its agent registers it again
		{remove(fleet.KindDevice, "0006"), func() { s.API.CreateDevice(r.device("0006"), r.labels("east")) }},
		{func() { s.API.CreateDevice(r.device("shelf"), r.labels("north")) }},
		{func() { r.label("0007", "role=canary") }},
		{func() { r.label("0008", "role-") }},
	}
	for len(work) > 0 {
		i := r.rng.IntN(len(work))
		work[i][0]()
		if work[i] = work[i][1:]; len(work[i]) == 0 {
			work = append(work[:i], work[i+1:]...)
		}
	}
}

// remove deletes a resource and strips it of its finalizers, so that it is gone at once.
func (r *changes) remove(kind, name string) {
	full, short := r.id(name), "fdep"
	if kind == fleet.KindDevice {
		full, short = r.device(name), "fdev"
	}
	r.s.API.Delete(kind, full)
	_, err := r.s.Kubectl(r.t.Context(), "patch", short, full, "--type=merge", `--patch={"metadata":{"finalizers":null}}`)
	if gone := r.s.API.Gone(r.t.Context(), kind, full); gone != nil {
		r.t.Fatalf("strip %s: %v (%v)", full, gone, err)
	}
}

func (r *changes) label(device, label string) {
	r.t.Helper()
	if out, err := r.s.Kubectl(r.t.Context(), "label", "fdev", r.device(device), label); err != nil {
		r.t.Fatalf("label a device: %v\n%s", err, out)
	}
}

func (r *changes) id(name string) string       { return name + "-" + r.round }
func (r *changes) device(number string) string { return r.round + "-" + number }

func (r *changes) labels(region string) map[string]string {
	return map[string]string{"region": region, "round": r.round}
}

func (r *changes) deployment(name string, regions ...string) lab.Deployment {
	selector := region(regions...)
	selector.MatchLabels = map[string]string{"round": r.round}
	return deployment(r.id(name), selector)
}

func (r *changes) canary() lab.Deployment {
	return deployment(r.id("canary"), fleet.Selector{MatchLabels: map[string]string{"round": r.round, "role": "canary"}})
}

// settled waits until a Deployment's status has these counts, for its current uid and generation.
func (r *changes) settled(name string, want [5]int) {
	r.t.Helper()
	ready := fleet.ConditionTrue
	if want[3] > 0 {
		ready = fleet.ConditionFalse
	}
	settled(r.t, r.s, r.id(name), want, ready)
}

// noOldReport checks every status that the re-created Deployment has had while its devices were cut off.
func (r *changes) noOldReport() {
	u, err := r.s.API.Get(r.t.Context(), fleet.KindDeployment, r.id("again"))
	if err != nil {
		r.t.Fatal(err)
	}
	all := r.again.Of(string(u.GetUID()))
	if len(all) == 0 {
		r.t.Error("no status of the new uid was seen")
	}
	for _, status := range all {
		if a := status.Aggregate; a.Running+a.Failed+a.StaleLastKnown.Running > 0 {
			r.t.Errorf("an old report counted for the new uid: %+v", a)
		}
	}
}

// unchanged checks what nobody touched.
func (r *changes) unchanged(before, after lab.Picture) {
	for key, e := range before.Keys[fleet.BucketDesiredState] {
		kept := strings.HasSuffix(key, "."+r.id("keep")) || !strings.HasSuffix(key, "-"+r.round)
		if now := after.Keys[fleet.BucketDesiredState][key]; kept && now != e {
			r.t.Errorf("%s was rewritten: %v became %v", key, e, now)
		}
	}
	for name, resource := range before.Resources {
		if strings.HasPrefix(name, fleet.KindDeployment+"/") && !strings.HasSuffix(name, "-"+r.round) && after.Resources[name] != resource {
			r.t.Errorf("%s was written: %v became %v", name, resource, after.Resources[name])
		}
	}
}

// final is the state of this round's resources and keys, without what differs from run to run.
func (r *changes) final(p lab.Picture) map[string]string {
	out := map[string]string{}
	add := func(name string, parts ...any) {
		out[strings.ReplaceAll(name, r.round, "round")] = strings.ReplaceAll(fmt.Sprint(parts...), r.round, "round")
	}
	uids := map[string]string{}
	listed, err := r.s.API.Listed(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, w := range listed {
		switch {
		case w.Resource == fleet.KindDeployment && strings.HasSuffix(w.Name, "-"+r.round):
			uids[w.Name] = w.UID
			add(w.Resource+"/"+w.Name, w.Generation, w.Deleting, w.Finalizers, string(w.Spec), withoutTimes(r.t, string(w.Status)))
		case w.Resource == fleet.KindDevice && strings.HasPrefix(w.Name, r.round+"-"):
			var state fleet.DeviceStatus // its inventory differs from device to device
			if err := json.Unmarshal(w.Status, &state); err != nil {
				r.t.Errorf("parse the status of %s: %v", w.Name, err)
			}
			add(w.Resource+"/"+w.Name, w.Generation, w.Deleting, w.Finalizers, w.Labels, state.State)
		}
	}
	for key, e := range p.Keys[fleet.BucketDesiredState] {
		device, name, _ := strings.Cut(key, ".")
		if !strings.HasSuffix(name, "-"+r.round) {
			continue
		}
		d, err := fleet.DecodeDesired([]byte(e.Value))
		if err != nil || d.UID != uids[name] {
			r.t.Errorf("%s is of uid %s, not %s (%v)", key, d.UID, uids[name], err)
		}
		add("desired/"+key, d.Score.Type, string(d.Score.Data))
		report, err := fleet.DecodeReport([]byte(p.Keys[fleet.BucketDeviceState]["state."+device+"."+name].Value))
		if err == nil {
			add("report/"+key, report.Phase, report.ObservedHash == fleet.Hash([]byte(e.Value)))
		}
	}
	return out
}
