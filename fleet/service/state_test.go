package service

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
)

func TestJudge(t *testing.T) {
	synced := source{Source: fleet.Source{Name: "device-state", Synced: true}, required: true}
	reading := source{Source: fleet.Source{Name: "device-state", Done: 3, Total: 10}, required: true}
	waiting := source{Source: fleet.Source{Name: "mirror", Reason: "the patcher has not finished its first pass"}}
	poisoned := source{Source: fleet.Source{Name: "device-info", Synced: true, Poison: 2, Set: []fleet.Poison{{Key: "info.X", Error: "illegal key"}}}, required: true}
	lost := []fleet.Reason{{Reason: "NATSUnreachable", Message: "trying again"}}
	brake := &fleet.Reason{Reason: "Held", Message: "12 deletes"}
	stopping := &fleet.Reason{Reason: "Stopping", Message: "terminated"}

	for name, tc := range map[string]struct {
		in      inputs
		state   fleet.State
		ready   bool
		reasons []string
	}{
		"nothing yet":               {inputs{}, fleet.StateStarting, false, nil},
		"connected, not set up":     {inputs{Connected: true}, fleet.StateStarting, false, nil},
		"first attempt failed":      {inputs{Degraded: lost}, fleet.StateDegraded, false, []string{"NATSUnreachable: trying again"}},
		"replaying":                 {inputs{Connected: true, SetUp: true, Sources: []source{reading}}, fleet.StateReplaying, false, []string{"SourceNotSynced: device-state: 3 of about 10 read"}},
		"replaying, held":           {inputs{Connected: true, SetUp: true, Held: brake, Sources: []source{reading}}, fleet.StateReplaying, false, []string{"Held: 12 deletes", "SourceNotSynced: device-state: 3 of about 10 read"}},
		"optional source not there": {inputs{Connected: true, SetUp: true, Sources: []source{synced, waiting}}, fleet.StateConverging, true, []string{"SourceNotSynced: mirror: the patcher has not finished its first pass"}},
		"something waits":           {inputs{Connected: true, SetUp: true, Sources: []source{synced}, Waiting: []fleet.Reason{{Reason: "Rebuilding", Message: "3 statuses wait"}}}, fleet.StateConverging, true, []string{"Rebuilding: 3 statuses wait"}},
		"converging":                {inputs{Connected: true, SetUp: true, Converging: true, Sources: []source{synced}}, fleet.StateConverging, true, nil},
		"held":                      {inputs{Connected: true, SetUp: true, Held: brake, Converging: true, Sources: []source{synced}}, fleet.StateHeld, true, []string{"Held: 12 deletes"}},
		"ready":                     {inputs{Connected: true, SetUp: true, Sources: []source{synced}}, fleet.StateReady, true, nil},
		"ready with poison":         {inputs{Connected: true, SetUp: true, Sources: []source{poisoned}}, fleet.StateReady, true, []string{`EntriesSetAside: device-info: 2 entries are set aside, among them "info.X": illegal key`}},
		"a service without sources": {inputs{Connected: true, SetUp: true}, fleet.StateReady, true, nil},
		"lost later, view kept":     {inputs{SetUp: true, Degraded: lost, Sources: []source{synced}}, fleet.StateDegraded, true, []string{"NATSUnreachable: trying again"}},
		"stopping":                  {inputs{Ending: stopping, Connected: true, SetUp: true, Sources: []source{synced}}, fleet.StateDegraded, false, []string{"Stopping: terminated"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(tc.in)
			if got.State != tc.state || got.Ready != tc.ready {
				t.Errorf("got %s, ready %t; want %s, ready %t", got.State, got.Ready, tc.state, tc.ready)
			}
			var reasons []string
			for _, r := range got.Reasons {
				reasons = append(reasons, r.Reason+": "+r.Message)
			}
			if !slices.Equal(reasons, tc.reasons) {
				t.Errorf("reasons %q, want %q", reasons, tc.reasons)
			}
			if got.Reasons == nil {
				t.Error("reasons are null in JSON")
			}
		})
	}
}

func TestJudge_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs{
			Connected:  rapid.Bool().Draw(t, "connected"),
			SetUp:      rapid.Bool().Draw(t, "set up"),
			Converging: rapid.Bool().Draw(t, "converging"),
		}
		if rapid.Bool().Draw(t, "ending") {
			in.Ending = &fleet.Reason{Reason: "Stopping"}
		}
		if rapid.Bool().Draw(t, "held") {
			in.Held = &fleet.Reason{Reason: "Held"}
		}
		if rapid.Bool().Draw(t, "degraded") {
			in.Degraded = []fleet.Reason{{Reason: "Lost"}}
		}
		allRequired := true
		for range rapid.IntRange(0, 3).Draw(t, "sources") {
			s := source{Source: fleet.Source{Synced: rapid.Bool().Draw(t, "synced")}, required: rapid.Bool().Draw(t, "required")}
			in.Sources = append(in.Sources, s)
			allRequired = allRequired && (s.Synced || !s.required)
		}
		v := judge(in)
		if v.Ready != (in.SetUp && in.Ending == nil && allRequired) {
			t.Fatalf("ready %t of %+v", v.Ready, in)
		}
		if v.State == fleet.StateReady && (!v.Ready || len(v.Reasons) > 0) {
			t.Fatalf("state ready with %+v", v)
		}
		if v.State == fleet.StateDegraded && len(v.Reasons) == 0 {
			t.Fatalf("degraded without a reason")
		}
	})
}
