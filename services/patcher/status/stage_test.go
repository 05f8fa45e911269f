package status_test

import (
	"slices"
	"testing"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/status"
)

func TestTell(t *testing.T) {
	ready := status.Stage{Condition: fleet.ConditionReady, Reason: fleet.ReasonAllRunning, Message: "running on 6 devices", Generation: 1, Matched: 6}
	with := func(s status.Stage, change func(*status.Stage)) status.Stage {
		change(&s)
		return s
	}
	as := func(condition, reason string) status.Stage {
		return status.Stage{Condition: condition, Reason: reason, Message: "m", Generation: 1, Matched: 6}
	}
	pending := as(fleet.ConditionReconciling, fleet.ReasonPending)
	failed := as(fleet.ConditionStalled, fleet.ReasonDevicesFailed)
	invalid := as(fleet.ConditionStalled, fleet.ReasonInvalid)
	held := as(fleet.ConditionStalled, fleet.ReasonHeld)
	silentAll := with(ready, func(s *status.Stage) { s.Reason, s.Stale = fleet.ReasonHeartbeatsSilent, 6 })
	silentTwo := with(ready, func(s *status.Stage) { s.Stale = 2 })
	tests := []struct {
		name     string
		from, to status.Stage
		want     []string
	}{
		{"created", status.Stage{}, pending, nil},
		{"created, and there at once", status.Stage{}, ready, []string{"Normal AllRunning generation 1: running on 6 devices"}},
		{"ready", pending, ready, []string{"Normal AllRunning generation 1: running on 6 devices"}},
		{"ready as it was", ready, with(ready, func(s *status.Stage) { s.Message = "running on 7 devices" }), nil},
		{"ready with another generation", ready, with(ready, func(s *status.Stage) { s.Generation = 2 }), []string{"Normal AllRunning generation 2: running on 6 devices"}},
		{"ready, but with nothing", ready, with(ready, func(s *status.Stage) {
			s.Reason, s.Message = fleet.ReasonNoDevicesMatch, "the selector matches no device"
		}), []string{"Normal NoDevicesMatch generation 1: the selector matches no device"}},
		{"on its way", ready, pending, nil},
		{"failed", pending, failed, []string{"Warning DevicesFailed m"}},
		{"failed still", failed, with(failed, func(s *status.Stage) { s.Message = "failed on 2" }), nil},
		{"failed for another reason", failed, invalid, []string{"Warning Invalid m"}},
		{"held: the reconciler tells", ready, held, nil},
		{"no longer held", held, ready, []string{"Normal AllRunning generation 1: running on 6 devices"}},
		{"two are silent", ready, silentTwo, []string{"Warning DevicesSilent 2 of 6 devices fell silent"}},
		{"one more is silent", silentTwo, with(ready, func(s *status.Stage) { s.Stale = 3 }), nil},
		{"all are heard of", silentTwo, ready, []string{"Normal DevicesHeard all 6 devices are heard of again"}},
		{"none is left", silentTwo, with(ready, func(s *status.Stage) { s.Matched = 0 }), nil},
		{"the whole fleet is silent", ready, silentAll, []string{"Warning HeartbeatsSilent running on 6 devices"}},
		{"it is silent still", silentAll, with(silentAll, func(s *status.Stage) { s.Message = "x" }), nil},
		{"the fleet is back", silentAll, ready, []string{"Normal AllRunning generation 1: running on 6 devices", "Normal DevicesHeard all 6 devices are heard of again"}},
		{"failed and silent", ready, with(failed, func(s *status.Stage) { s.Stale = 1 }), []string{"Warning DevicesFailed m", "Warning DevicesSilent 1 of 6 devices fell silent"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, n := range status.Tell(tt.from, tt.to) {
				got = append(got, n.Type+" "+n.Reason+" "+n.Message)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if again := status.Tell(tt.to, tt.to); again != nil {
				t.Errorf("without a change: %v", again)
			}
		})
	}
}

// What is read back from the resource is what was written, and what cannot be read is nothing.
func TestStage_StoredIsAsWritten(t *testing.T) {
	s := wanted(fleet.ConditionTrue, 2)
	s.Aggregate.Running, s.Aggregate.Stale = 1, 1
	stored := written(t, nil, deployment(t, nil, s, early))
	got := status.StoredStage(stored)
	if want := status.StageOf(s); got != want || got.Condition != fleet.ConditionReady || got.Stale != 1 || got.Matched != 2 || got.Generation != 2 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, broken := range []map[string]any{nil, {"conditions": "x"}, {"aggregate": map[string]any{"stale": "many"}}} {
		if got := status.StoredStage(broken); got != (status.Stage{}) {
			t.Errorf("%v: %+v", broken, got)
		}
	}
}
