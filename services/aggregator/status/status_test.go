package status_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/status"
)

const uid = "u1"

func applied(generation int64) *fleet.Applied {
	return &fleet.Applied{UID: uid, Generation: generation}
}

func with(a *fleet.Applied, change func(*fleet.Applied)) *fleet.Applied {
	change(a)
	return a
}

func TestCompute(t *testing.T) {
	type aggregate = fleet.Aggregate
	allStale := aggregate{MatchedDeviceCount: 2, Stale: 2, StaleLastKnown: fleet.StaleLastKnown{Running: 2}}
	for _, c := range []struct {
		name   string
		in     status.Input
		want   string // the condition that is True, "" for none
		reason string
		other  int64 // observedGeneration, when it is not 3
	}{
		{"all running", status.Input{Applied: applied(3), Aggregate: aggregate{MatchedDeviceCount: 2, Running: 2}}, fleet.ConditionReady, fleet.ReasonAllRunning, 0},
		{"nothing matched", status.Input{Applied: applied(3)}, fleet.ConditionReady, fleet.ReasonNoDevicesMatch, 0},
		{"one pending", status.Input{Applied: applied(3), Aggregate: aggregate{MatchedDeviceCount: 2, Running: 1, Pending: 1}}, fleet.ConditionReconciling, fleet.ReasonPending, 0},
		{"failed and pending", status.Input{Applied: applied(3), Aggregate: aggregate{MatchedDeviceCount: 2, Failed: 1, Pending: 1}}, fleet.ConditionReconciling, fleet.ReasonPending, 0},
		{"one failed", status.Input{Applied: applied(3), Aggregate: aggregate{MatchedDeviceCount: 2, Running: 1, Failed: 1}}, fleet.ConditionStalled, fleet.ReasonDevicesFailed, 0},
		{"stale, last running", status.Input{Applied: applied(3), Aggregate: allStale}, fleet.ConditionReady, fleet.ReasonAllRunning, 0},
		{"stale, last failed", status.Input{Applied: applied(3), Aggregate: aggregate{MatchedDeviceCount: 2, Running: 1, Stale: 1, StaleLastKnown: fleet.StaleLastKnown{Failed: 1}}}, "", fleet.ReasonStaleNotRunning, 0},
		{"stale, last pending", status.Input{Applied: applied(3), Aggregate: aggregate{MatchedDeviceCount: 1, Stale: 1, StaleLastKnown: fleet.StaleLastKnown{Pending: 1}}}, "", fleet.ReasonStaleNotRunning, 0},
		{"silent fleet", status.Input{Applied: applied(3), Aggregate: allStale, Silent: true}, fleet.ConditionReady, fleet.ReasonHeartbeatsSilent, 0},
		{"silent fleet, last pending", status.Input{Applied: applied(3), Silent: true, Aggregate: aggregate{MatchedDeviceCount: 1, Stale: 1, StaleLastKnown: fleet.StaleLastKnown{Pending: 1}}}, "", fleet.ReasonHeartbeatsSilent, 0},
		{"silent fleet, nothing matched", status.Input{Applied: applied(3), Silent: true}, fleet.ConditionReady, fleet.ReasonNoDevicesMatch, 0},
		{"older generation applied", status.Input{Applied: applied(2), Aggregate: aggregate{MatchedDeviceCount: 2, Running: 2}}, fleet.ConditionReconciling, fleet.ReasonApplying, 2},
		{"newer generation applied than the mirror shows", status.Input{Applied: applied(4), Aggregate: aggregate{MatchedDeviceCount: 2, Running: 2}}, fleet.ConditionReconciling, fleet.ReasonApplying, 3},
		{"nothing applied", status.Input{}, fleet.ConditionReconciling, fleet.ReasonApplying, -1},
		{"another uid applied", status.Input{Applied: with(applied(3), func(a *fleet.Applied) { a.UID = "u0" })}, fleet.ConditionReconciling, fleet.ReasonApplying, -1},
		{"invalid", status.Input{Applied: with(applied(3), func(a *fleet.Applied) { a.Invalid = "score type is empty" }), Aggregate: aggregate{MatchedDeviceCount: 2, Pending: 2}}, fleet.ConditionStalled, fleet.ReasonInvalid, 0},
		{"an older generation was invalid", status.Input{Applied: with(applied(2), func(a *fleet.Applied) { a.Invalid = "score type is empty" })}, fleet.ConditionReconciling, fleet.ReasonApplying, 2},
		{"held", status.Input{Applied: with(applied(3), func(a *fleet.Applied) { a.Held = "h1" }), Aggregate: aggregate{MatchedDeviceCount: 2, Pending: 2}}, fleet.ConditionStalled, fleet.ReasonHeld, 0},
		{"held at a greater generation", status.Input{Applied: with(applied(5), func(a *fleet.Applied) { a.Held = "h1" })}, fleet.ConditionStalled, fleet.ReasonHeld, 0},
		{"being deleted", status.Input{Applied: applied(3), Deleting: true, Aggregate: aggregate{MatchedDeviceCount: 2, Running: 2}}, fleet.ConditionReconciling, fleet.ReasonDeploymentDeleted, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.UID, c.in.Generation = uid, 3
			s := status.Compute(c.in)
			observed := int64(3)
			if c.other != 0 {
				observed = max(c.other, 0)
			}
			if s.ObservedGeneration != observed {
				t.Errorf("observedGeneration %d, want %d", s.ObservedGeneration, observed)
			}
			types := []string{fleet.ConditionReady, fleet.ConditionReconciling, fleet.ConditionStalled}
			for i, got := range s.Conditions {
				want := fleet.ConditionFalse
				if got.Type == c.want {
					want = fleet.ConditionTrue
				}
				if got.Type != types[i] || got.Status != want {
					t.Errorf("condition %s is %s, want %s %s", got.Type, got.Status, types[i], want)
				}
			}
			if got := s.Conditions[0].Reason; got != c.reason {
				t.Errorf("reason %s, want %s", got, c.reason)
			}
		})
	}
}

func genInput(t *rapid.T) status.Input {
	n := func(label string) int { return rapid.IntRange(0, 2).Draw(t, label) }
	last := fleet.StaleLastKnown{Running: n("lastRunning"), Failed: n("lastFailed"), Pending: n("lastPending")}
	a := fleet.Aggregate{
		Running: n("running"), Failed: n("failed"), Pending: n("pending"),
		Stale: last.Running + last.Failed + last.Pending, StaleLastKnown: last,
	}
	a.MatchedDeviceCount = a.Running + a.Failed + a.Pending + a.Stale
	if a.Failed > 0 {
		a.LastError = &fleet.LastError{Device: "d1", Message: strings.Repeat("x", 9), At: time.Unix(0, 0).UTC()}
	}
	in := status.Input{
		UID: "u1", Generation: int64(rapid.IntRange(1, 3).Draw(t, "generation")), Aggregate: a,
		Deleting: rapid.Bool().Draw(t, "deleting"), Silent: rapid.Bool().Draw(t, "silent"),
	}
	if rapid.IntRange(0, 3).Draw(t, "applied") > 0 {
		text := rapid.SampledFrom([]string{"", "", "bad", strings.Repeat("ä", 4000)})
		in.Applied = &fleet.Applied{
			UID:        rapid.SampledFrom([]string{"u1", "u1", "u0"}).Draw(t, "uid"),
			Generation: int64(rapid.IntRange(0, 4).Draw(t, "appliedGeneration")),
			Invalid:    text.Draw(t, "invalid"),
			Held:       text.Draw(t, "held"),
		}
	}
	return in
}

func TestCompute_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genInput(t)
		s := status.Compute(in)
		a := s.Aggregate
		ready := s.Conditions[0].Status == fleet.ConditionTrue
		reconciling := s.Conditions[1].Status == fleet.ConditionTrue
		stalled := s.Conditions[2].Status == fleet.ConditionTrue

		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
		sound := in.Applied != nil && in.Applied.UID == in.UID && in.Applied.Generation == in.Generation &&
			in.Applied.Invalid == "" && in.Applied.Held == "" && !in.Deleting &&
			a.Failed == 0 && a.Pending == 0 && a.Stale == a.StaleLastKnown.Running
		if ready != sound {
			t.Fatalf("ready %t, want %t: %+v", ready, sound, in)
		}
		if ready && (reconciling || stalled) || reconciling && stalled {
			t.Fatalf("more than one condition is True: %+v", s.Conditions)
		}
		if s.ObservedGeneration > in.Generation || ready && s.ObservedGeneration != in.Generation {
			t.Fatalf("observedGeneration %d at generation %d, ready %t", s.ObservedGeneration, in.Generation, ready)
		}
		b, err := json.Marshal(s)
		if err != nil || len(b) > 4<<10 {
			t.Fatalf("%d bytes, err %v", len(b), err)
		}
		again, err := json.Marshal(status.Compute(in))
		if err != nil || string(again) != string(b) {
			t.Fatalf("%s\n%s", b, again)
		}
		for _, c := range s.Conditions {
			if c.LastTransitionTime != nil || c.ObservedGeneration != s.ObservedGeneration || c.Reason == "" || c.Message == "" {
				t.Fatalf("%+v", c)
			}
		}
	})
}
