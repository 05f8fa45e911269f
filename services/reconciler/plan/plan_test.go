package plan

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
)

func TestCauseOf(t *testing.T) {
	alive := resource{presence: live, uid: "u"}
	deleting := resource{presence: live, uid: "u", deleting: true}
	deletedStone := resource{presence: tombstone, cause: fleet.TombstoneDeleted}
	vanishedStone := resource{presence: tombstone, cause: fleet.TombstoneVanished}
	applied := func(uid string, generation int64) *fleet.Applied {
		return &fleet.Applied{UID: uid, Generation: generation}
	}
	for name, tc := range map[string]struct {
		deployment  resource
		generation  int64
		applied     *fleet.Applied
		device      resource
		quarantined bool
		want        fleet.Cause
	}{
		"deployment deleting":              {deleting, 2, applied("u", 1), alive, false, fleet.CauseDeleted},
		"device deleting":                  {alive, 2, applied("u", 1), deleting, false, fleet.CauseDeleted},
		"deleted before vanished":          {resource{}, 0, applied("u", 1), deleting, false, fleet.CauseDeleted},
		"tombstone deleted":                {deletedStone, 0, applied("u", 1), alive, false, fleet.CauseDeleted},
		"device tombstone deleted":         {alive, 2, applied("u", 1), deletedStone, false, fleet.CauseDeleted},
		"deleted before quarantined":       {deleting, 2, applied("u", 1), alive, true, fleet.CauseDeleted},
		"quarantined before vanished":      {vanishedStone, 0, applied("u", 1), alive, true, fleet.CauseQuarantined},
		"quarantined":                      {alive, 1, applied("u", 1), alive, true, fleet.CauseQuarantined},
		"deployment vanished":              {vanishedStone, 0, applied("u", 1), alive, false, fleet.CauseVanished},
		"deployment absent":                {resource{}, 0, applied("u", 1), alive, false, fleet.CauseVanished},
		"device vanished, spec edited":     {alive, 2, applied("u", 1), vanishedStone, false, fleet.CauseVanished},
		"device absent":                    {alive, 1, applied("u", 1), resource{}, false, fleet.CauseVanished},
		"other uid, newer generation":      {alive, 7, applied("other", 1), alive, false, fleet.CauseVanished},
		"edited":                           {alive, 2, applied("u", 1), alive, false, fleet.CauseEdited},
		"never applied":                    {alive, 1, nil, alive, false, fleet.CauseEdited},
		"regressed":                        {alive, 1, applied("u", 2), alive, false, fleet.CauseRegressed},
		"relabelled":                       {alive, 2, applied("u", 2), alive, false, fleet.CauseRelabelled},
		"unknown deployment, device gone":  {resource{presence: unknown}, 0, nil, vanishedStone, false, fleet.CauseVanished},
		"unknown device, deployment ended": {deleting, 1, applied("u", 1), resource{presence: unknown}, false, fleet.CauseDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			p := &deployment{resource: tc.deployment, generation: tc.generation, applied: tc.applied}
			d := &device{resource: tc.device, quarantined: tc.quarantined}
			if got := causeOf(p, d); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestMirror_Vouched(t *testing.T) {
	good := mirror{epoch: 5, epochTerm: "a", synced: fleet.Synced{Epoch: 5}, alive: true, leaseTerm: "a"}
	for name, c := range map[string]struct {
		change func(*mirror)
		want   bool
	}{
		"whole, and its holder lives":           {func(*mirror) {}, true},
		"a new epoch":                           {func(m *mirror) { m.epoch = 6 }, false},
		"never synced":                          {func(m *mirror) { m.synced = fleet.Synced{} }, false},
		"nobody seen to hold the lease":         {func(m *mirror) { m.alive = false }, false},
		"another holder, who took no epoch yet": {func(m *mirror) { m.leaseTerm = "b" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := good
			c.change(&m)
			if got := m.vouched(); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestBrake_Exceeds(t *testing.T) {
	b := DefaultBrake()
	for _, tc := range []struct {
		taken, keys int
		want        bool
	}{
		{9, 9, false}, {10, 10, true}, {10, 49, true}, {10, 50, false}, {11, 50, true}, {200, 1000, false}, {201, 1000, true}, {0, 0, false},
	} {
		if got := b.exceeds(tc.taken, tc.keys); got != tc.want {
			t.Errorf("%d of %d: got %v, want %v", tc.taken, tc.keys, got, tc.want)
		}
	}
}

func TestBrake_RipeAt(t *testing.T) {
	b, zero := DefaultBrake(), begin()
	at := func(s int) time.Time { return zero.Add(time.Duration(s) * time.Second) }
	for name, tc := range map[string]struct {
		stirred, confirmed, since, want time.Time
	}{
		"quiet since the change": {at(5), at(0), at(5), at(15)},
		"stirred again":          {at(30), at(0), at(5), at(40)},
		"never quiet":            {at(64), at(0), at(5), at(65)},
		"the minute begins with the mirror's word": {at(200), at(180), at(5), at(210)},
	} {
		t.Run(name, func(t *testing.T) {
			m := mirror{stirred: tc.stirred, confirmed: tc.confirmed}
			if got := b.ripeAt(&m, tc.since); !got.Equal(tc.want) {
				t.Errorf("got %s, want %s", got.Sub(zero), tc.want.Sub(zero))
			}
		})
	}
}

func TestState_InvalidTextStaysReadable(t *testing.T) {
	w := newWorld(t)
	w.whole()
	e := wish(1, "a")
	e.TargetSelector.MatchLabels[strings.Repeat("ü%", 40_000)] = "x"
	w.setDeployment("web", e)
	w.apply(w.plan())
	if a, err := fleet.DecodeApplied(w.desired[fleet.AppliedKey("web")].Value); err != nil || a.Invalid == "" {
		t.Fatalf("got %+v, %v", a, err)
	}
	if p := w.plan(); !p.Empty() {
		t.Errorf("written again and again:\n%s", render(p))
	}
}

// spread is a world in which web has a key on each of n devices.
func spread(t *testing.T, n int) *world {
	w := newWorld(t)
	w.whole()
	for i := range n {
		w.setDevice(fmt.Sprintf("d%d", i), labelled("region", "north"))
	}
	w.setDeployment("web", wish(1, "a", "region", "north"))
	w.apply(w.plan())
	return w
}

func TestState_ValuesAreShared(t *testing.T) {
	w := spread(t, 100)
	if n := len(w.state.values); n != 1 {
		t.Errorf("%d values are kept for 100 equal keys", n)
	}
}

func TestState_Show(t *testing.T) {
	w := newWorld(t)
	w.whole()
	for i := range 30 {
		w.setDevice(fmt.Sprintf("d%02d", i), labelled("region", []string{"north", "south"}[i%2]))
	}
	w.setDeployment("web", wish(1, "a", "region", "north"))
	w.setDeployment("log", wish(1, "l", "region", "south"))
	w.apply(w.plan())
	before := render(w.plan())

	t.Run("candidate", func(t *testing.T) {
		r, err := w.state.Show(w.now, "web", &fleet.Candidate{
			TargetSelector: fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: "region", Operator: "In", Values: []string{"south"}}}},
			Score:          score("a"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.PutCount != 15 || r.DeleteCount != 15 || len(r.Gained) != 15 || len(r.Lost) != 15 || r.HeldCount != 0 {
			t.Errorf("got %d puts, %d deletes, %d gained, %d lost, %d held", r.PutCount, r.DeleteCount, len(r.Gained), len(r.Lost), r.HeldCount)
		}
		if len(r.Deletes) != 15 || r.Deletes[0].Cause != fleet.CauseEdited {
			t.Errorf("got deletes %+v", r.Deletes)
		}
		if r.GainedCount != 15 || r.LostCount != 15 || r.KeyCount != 15 || r.Candidate != fleet.CandidateChanged {
			t.Errorf("%s: gains %d, loses %d of %d", r.Candidate, r.GainedCount, r.LostCount, r.KeyCount)
		}
	})
	t.Run("candidate that is what is there", func(t *testing.T) {
		c := &fleet.Candidate{TargetSelector: wish(1, "", "region", "north").TargetSelector, Score: score("a")}
		c.TargetSelector.MatchExpressions = []fleet.SelectorRequirement{}
		r, err := w.state.Show(w.now, "web", c)
		if err != nil || r.Candidate != fleet.CandidateUnchanged || r.PutCount+r.DeleteCount != 0 {
			t.Errorf("got %+v, %v", r, err)
		}
		w.setDevice("d00", labelled("region", "east"))
		if r, err = w.state.Show(w.now, "web", c); err != nil || r.LostCount != 1 || r.WaitCount != 1 || r.Deletes[0].Cause != fleet.CauseRelabelled {
			t.Errorf("what is to be deleted anyway: got %+v, %v", r, err)
		}
		w.setDevice("d00", labelled("region", "north"))
	})
	t.Run("candidate with another score gains nobody", func(t *testing.T) {
		r, err := w.state.Show(w.now, "web", &fleet.Candidate{TargetSelector: wish(1, "", "region", "north").TargetSelector, Score: score("b")})
		if err != nil || r.PutCount != 15 || len(r.Gained)+len(r.Lost)+r.DeleteCount != 0 {
			t.Errorf("got %+v, %v", r, err)
		}
	})
	t.Run("candidate of a new deployment", func(t *testing.T) {
		r, err := w.state.Show(w.now, "cam", &fleet.Candidate{Score: score("c")})
		if err != nil || r.PutCount != 30 || len(r.Gained) != 30 || r.Candidate != fleet.CandidateNew || r.KeyCount != 0 {
			t.Errorf("got %+v, %v", r, err)
		}
	})
	t.Run("invalid candidate", func(t *testing.T) {
		_, err := w.state.Show(w.now, "web", &fleet.Candidate{TargetSelector: wish(1, "", "bad key", "x").TargetSelector, Score: score("c")})
		if fleet.CodeOf(err) != fleet.CodeInvalid {
			t.Errorf("got %v", err)
		}
		if _, err = w.state.Show(w.now, "", &fleet.Candidate{Score: score("c")}); fleet.CodeOf(err) != fleet.CodeInvalid {
			t.Errorf("without a name: got %v", err)
		}
	})
	t.Run("what the brake would say", func(t *testing.T) {
		w.entomb("deployment", "web", fleet.TombstoneVanished)
		r, err := w.state.Show(w.now, "web", nil)
		if err != nil || r.WaitCount != 15 || r.HeldCount != 0 {
			t.Errorf("at once: got %+v, %v", r, err)
		}
		w.now = w.now.Add(time.Minute)
		r, err = w.state.Show(w.now, "", nil)
		if err != nil || r.HeldCount != 15 || r.Hold == nil || r.Hold.Deletes != 15 {
			t.Errorf("after the quiet: got %+v, %v", r, err)
		}
		if r, _ = w.state.Show(w.now, "log", nil); r.HeldCount != 0 {
			t.Errorf("of the other deployment: got %+v", r)
		}
		if _, err = w.state.Show(w.now, "nope", nil); fleet.CodeOf(err) != fleet.CodeNotFound {
			t.Errorf("of a deployment that is not there: %v", err)
		}
		w.setDeployment("web", wish(1, "a", "region", "north"))
	})
	if after := render(w.plan()); after != before {
		t.Errorf("showing changed the state:\n%s", after)
	}
}

// An answer has to fit into a message, whatever the size of the fleet.
func TestState_ShowIsBounded(t *testing.T) {
	w := newWorld(t)
	w.whole()
	n := fleet.MaxLimit + 500
	for i := range n {
		w.setDevice(fmt.Sprintf("d%04d", i), labelled("region", "north"))
	}
	w.setDeployment("web", wish(1, "a", "region", "north"))
	w.apply(w.plan())
	for i := range fleet.MaxInvalid + 1 {
		w.setDeployment(fmt.Sprintf("bad-%d", i), wish(1, "a", "bad key", "x"))
	}
	r, err := w.state.Show(w.now, "web", &fleet.Candidate{TargetSelector: wish(1, "", "region", "south").TargetSelector, Score: score("a")})
	if err != nil || r.LostCount != n || len(r.Lost) != fleet.MaxLimit || len(r.Deletes) != fleet.MaxLimit || r.InvalidCount != 0 {
		t.Errorf("loses %d, named %d, %d deletes, %d invalid, %v", r.LostCount, len(r.Lost), len(r.Deletes), r.InvalidCount, err)
	}
	r, err = w.state.Show(w.now, "new", &fleet.Candidate{Score: score("a")})
	if err != nil || r.GainedCount != n || len(r.Gained) != fleet.MaxLimit || len(r.Puts) != fleet.MaxLimit {
		t.Errorf("gains %d, named %d, %d puts, %v", r.GainedCount, len(r.Gained), len(r.Puts), err)
	}
	r, err = w.state.Show(w.now, "", nil)
	if err != nil || r.InvalidCount != fleet.MaxInvalid+1 || len(r.Invalid) != fleet.MaxInvalid || r.KeyCount != n {
		t.Errorf("%d invalid, named %d, %d keys, %v", r.InvalidCount, len(r.Invalid), r.KeyCount, err)
	}
}

func TestState_Targets(t *testing.T) {
	w := newWorld(t)
	w.whole()
	for _, id := range []string{"b", "a", "c"} {
		w.setDevice(id, labelled())
	}
	w.setDeployment("web", wish(1, "a"))
	w.apply(w.plan())
	if got, ok := w.state.Targets("web"); !ok || fmt.Sprint(got) != "[a b c]" {
		t.Errorf("got %v, %v", got, ok)
	}
	if _, ok := w.state.Targets("cam"); ok {
		t.Error("an unknown deployment has targets")
	}
}

func TestPage(t *testing.T) {
	var entries []Entry
	for i := range 20 {
		entries = append(entries, Entry{fleet.DeploymentName(fmt.Sprintf("p%02d", i)), uint64(i), &Value{Bytes: make([]byte, 30_000)}})
	}
	var names []string
	pages, after := 0, fleet.DeploymentName("")
	for {
		page, next := Page(entries, after, 100_000)
		if len(page) == 0 || len(page) > 2 && len(mustJSON(t, page)) > 100_000 {
			t.Fatalf("page of %d entries, %d bytes", len(page), len(mustJSON(t, page)))
		}
		for _, e := range page {
			names = append(names, string(e.Deployment))
		}
		if pages++; next == "" {
			break
		}
		after = next
	}
	if len(names) != 20 || pages < 6 {
		t.Errorf("got %d entries on %d pages", len(names), pages)
	}
	if page, next := Page(entries[:1], "", 10); len(page) != 1 || next != "" {
		t.Error("an entry larger than a page has no page")
	}
}

func TestAside_Unwraps(t *testing.T) {
	w := newWorld(t)
	err := w.say(Message{Key: "device.d1", Value: []byte("{}")})
	if !errors.Is(err, ErrForeign) {
		t.Errorf("got %v", err)
	}
}

func TestState_CountsOwnDoubtfulDeletesOnly(t *testing.T) {
	w := newWorld(t)
	for i, m := range []Message{
		{Op: Marker, Own: true, Cause: fleet.CauseVanished},
		{Op: Marker, Own: true, Cause: fleet.CauseEdited},
		{Op: Marker, Own: false, Cause: fleet.CauseVanished},
	} {
		m.Key = fmt.Sprintf("d%d.web", i)
		w.ok(w.write(m))
	}
	if n := w.state.recently(w.now); n != 1 {
		t.Errorf("%d deletes are counted, want 1", n)
	}
	if n := w.state.recently(w.now.Add(11 * time.Minute)); n != 0 {
		t.Errorf("%d deletes are counted after the window", n)
	}
}

// A backup of the mirror says that web was deleted; since then it was created again. The patcher held the
// same epoch all the time, or the backup's lease has not run out, or the reconciler was started just now:
// nothing is deleted before the patcher has said under a new epoch what is true.
func TestState_AnOldBackupOfTheMirrorDeletesNothing(t *testing.T) {
	for name, restarted := range map[string]bool{"running": false, "restarted": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.whole()
			w.setDevice("d1", labelled("region", "north"))
			w.entomb("deployment", "web", fleet.TombstoneDeleted)
			backup := maps.Clone(w.mirror)
			w.now = w.now.Add(time.Hour)
			w.setDeployment("web", wish(1, "a", "region", "north"))
			w.apply(w.plan())

			if restarted {
				w.state = New(DefaultBrake())
				for _, m := range w.desired {
					w.ok(w.state.ApplyDesired(m, w.now))
				}
			}
			w.mirror = backup
			w.state.Reread()
			for _, m := range backup {
				w.ok(w.state.ApplyMirror(m, w.now))
			}
			w.state.Stir(w.now)
			w.keepsAll("after the restore")
			w.lease(false)
			w.now = w.now.Add(time.Hour)
			w.keepsAll("when the backup's lease has run out")

			w.term = "second" // the patcher campaigns again
			w.lease(true)
			w.keepsAll("under a lease without an epoch")
			w.takeEpoch()
			w.keepsAll("under an epoch without the whole difference")
			w.setDeployment("web", wish(1, "b", "region", "north"))
			w.sync()
			if puts, deletes := countsOf(w.plan()); puts != 1 || deletes != 0 {
				t.Errorf("after the repair: %s", render(w.plan()))
			}
		})
	}
}

// A mirror that went back to a time when web was not deleted yet does not carry it out again. Who reads it from
// the first time cannot know that.
func TestState_AMirrorThatWentBackPutsNothing(t *testing.T) {
	w := newWorld(t)
	w.whole()
	w.setDevice("d1", labelled("region", "north"))
	w.setDeployment("web", wish(1, "a", "region", "north"))
	backup := maps.Clone(w.mirror)
	w.entomb("deployment", "web", fleet.TombstoneDeleted)

	w.mirror = backup
	w.state.Reread()
	w.state.SetBack()
	for _, m := range backup {
		w.ok(w.state.ApplyMirror(m, w.now))
	}
	w.state.Stir(w.now)
	putsNothing := func(when string) {
		t.Helper()
		if p := w.plan(); !p.Empty() || w.state.MirrorWhole() {
			t.Fatalf("%s it plans\n%s", when, render(p))
		}
	}
	putsNothing("after the restore")
	w.term = "second"
	w.lease(true)
	putsNothing("under a lease without an epoch")
	w.takeEpoch()
	putsNothing("under an epoch without the whole difference")
	w.setDeployment("late", wish(1, "b", "region", "north"))
	w.entomb("deployment", "web", fleet.TombstoneVanished)
	w.sync()
	if puts, deletes := countsOf(w.plan()); puts != 1 || deletes != 0 {
		t.Errorf("after the repair: %s", render(w.plan()))
	}
	w.lease(false)
	if !w.state.MirrorWhole() {
		t.Error("it is doubted again without a patcher")
	}
}

// keepsAll expects that the one delete there is stays blocked.
func (w *world) keepsAll(when string) {
	w.t.Helper()
	if p := w.plan(); !p.Empty() || len(p.Blocked) != 1 {
		w.t.Fatalf("%s it plans\n%s", when, render(p))
	}
}

// Stamps of one leader of the stream are not comparable with those of another.
func TestState_AnotherClockOfTheMirrorDeletesAllTheSame(t *testing.T) {
	w := newWorld(t)
	w.whole()
	w.setDevice("d1", labelled("region", "north"))
	w.setDeployment("web", wish(1, "a", "region", "north"))
	w.apply(w.plan())
	w.now = w.now.Add(-5 * time.Second)
	w.takeEpoch()
	w.sync()
	w.setDeployment("web", wish(2, "a", "region", "south"))
	if _, deletes := countsOf(w.plan()); deletes != 1 {
		t.Errorf("under a stamp that went back\n%s", render(w.plan()))
	}
}

// A tombstone whose time ended is absence, for a replica that sees it end as for one that starts afterwards.
func TestState_AnExpiredTombstoneIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.whole()
	w.entomb("device", "d1", fleet.TombstoneDeleted)
	w.entomb("deployment", "web", fleet.TombstoneVanished)
	for _, key := range []string{"device.d1", "deployment.web"} {
		w.ok(w.say(Message{Key: key, Op: Expired}))
	}
	if n := len(w.state.devices) + len(w.state.deployments); n != 0 {
		t.Errorf("%d resources are kept", n)
	}
	// What was live has no time to live: somebody else overwrote it.
	w.setDevice("d2", labelled())
	w.setDeployment("log", wish(1, "l"))
	w.apply(w.plan())
	_ = w.say(Message{Key: "deployment.log", Op: Expired})
	_ = w.say(Message{Key: "device.d2", Op: Expired})
	if p := w.plan(); !p.Empty() || len(p.Waiting)+len(p.Blocked) != 0 {
		t.Errorf("expired by somebody else\n%s", render(p))
	}
}

// What becomes invalid is decided anew: an approval of before does not cover it.
func TestSameFate(t *testing.T) {
	alive := device{resource: resource{presence: live, uid: "u"}}
	invalid := alive
	invalid.invalid = true
	if !sameFate(&alive, &alive) || sameFate(&alive, &invalid) || sameFate(&invalid, &alive) {
		t.Error("an invalid device has the fate of another")
	}
}

// An earlier desired-state that comes back after all was lost says nothing about the keys that it does not have.
func TestState_AnEarlierDesiredStateIsNotAllThatWas(t *testing.T) {
	w := spread(t, 2)
	w.setDeployment("web", fleet.MirrorDeployment{Generation: 2, Invalid: "too large"})
	w.apply(w.plan())
	earlier := w.desired["d0.web"]
	clear(w.desired)
	w.state = w.rebuild(rand.New(rand.NewPCG(1, 2)), w.now)
	w.lease(true)
	w.state.Lose(w.now)
	w.ok(w.state.ApplyDesired(earlier, w.now))
	for _, d := range []fleet.DeviceID{"d0", "d1"} {
		if keys, err := w.state.DeviceKeys(d, none); err != nil || keys.Whole {
			t.Errorf("%s is told %+v, %v", d, keys, err)
		}
	}
}

// After the mirror went back its revisions are used again: an approval of before must not cover what comes now.
func TestState_SetBackEndsAnApproval(t *testing.T) {
	for name, known := range map[string]bool{"known before": true, "read after": false} {
		t.Run(name, func(t *testing.T) { approvalEnds(t, known) })
	}
}

func approvalEnds(t *testing.T, known bool) {
	t.Helper()
	w := spread(t, 40)
	w.entomb("deployment", "web", fleet.TombstoneVanished)
	w.now = w.now.Add(time.Minute)
	w.apply(w.plan())
	h, ok := w.state.Hold()
	if !ok {
		t.Fatal("nothing is held")
	}
	approved, err := w.state.Approve(h.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.lease(false)
	w.ok(w.write(change(t, fleet.KeyHold, &approved)))
	w.state.Reread()
	if stored := w.desired[fleet.KeyHold]; !known {
		w.ok(w.state.ApplyDesired(Message{Key: stored.Key, Op: Gone}, w.now))
	}
	w.state.SetBack()
	w.ok(w.state.ApplyDesired(w.desired[fleet.KeyHold], w.now)) // desired-state is read anew, too
	w.state.Stir(w.now)
	w.whole()
	w.ok(w.state.ApplyDesired(w.desired[fleet.KeyHold], w.now))
	p := w.plan()
	if _, deletes := p.Counts(); deletes != 0 || len(p.Held) != 40 {
		t.Fatalf("after the mirror went back:\n%s", render(p))
	}
	w.apply(p)
	if h, _ := w.state.Hold(); h.Approved {
		t.Error("the hold in the bucket is still approved")
	}
}

// What may be lost truth is written only when the mirror is known to be in view as it is: see holder.catchUp.
func TestPlan_Doubtful(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world)
		want   bool
	}{
		"new":       {func(w *world) { w.setDeployment("log", wish(1, "l", "", "")) }, false},
		"edited":    {func(w *world) { w.setDeployment("web", wish(6, "b", "region", "north")) }, false},
		"deleted":   {func(w *world) { w.entomb("deployment", "web", fleet.TombstoneDeleted) }, false},
		"vanished":  {func(w *world) { w.entomb("device", "d1", fleet.TombstoneVanished) }, true},
		"regressed": {func(w *world) { w.setDeployment("web", wish(4, "old", "region", "north")) }, true},
	} {
		w := spread(t, 40)
		w.setDeployment("web", wish(5, "a", "region", "north"))
		w.apply(w.plan())
		c.change(w)
		w.now = w.now.Add(time.Minute)
		if p := w.plan(); p.Empty() || p.Doubtful() != c.want {
			t.Errorf("%s: doubtful %t:\n%s", name, p.Doubtful(), render(p))
		}
	}
}

// The clock of the servers jumps past the window of the brake: what was deleted before is no older for that.
func TestState_JumpedForgetsNoDeletes(t *testing.T) {
	w := spread(t, 60)
	for i := range 7 {
		w.entomb("device", fmt.Sprintf("d%d", i), fleet.TombstoneVanished)
	}
	w.now = w.now.Add(time.Minute)
	w.apply(w.plan())
	w.now = w.now.Add(time.Hour)
	w.state.Jumped(w.now, time.Hour)
	for i := range 7 {
		w.entomb("device", fmt.Sprintf("d%d", 20+i), fleet.TombstoneVanished)
	}
	w.now = w.now.Add(time.Minute)
	if p := w.plan(); len(p.Held) != 7 {
		t.Errorf("after the jump:\n%s", render(p))
	}
}
