package scenarios

import (
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   SIGKILL of all three services at once while every bucket is full; they start again.
// Promise: status bytes and resource versions stay as they were; no write to the apiserver, none to
// KV except to keys that begin with "_".
// Budget:  ready within 60 s.
// Found:   -
func TestR01_ColdRestartWithFullKV(t *testing.T) {
	for name, nodes := range map[string]int{"R1": 1, "R3": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			coldRestart(t, nodes)
		})
	}
}

func coldRestart(t *testing.T, nodes int) {
	s := lab.New(t, lab.Options{Nodes: nodes})
	services := s.StartServices()
	s.StartDevices(24)
	registered(t, s, 24)
	s.API.Apply(deployment("north", region("north")))
	s.API.Apply(deployment("coast", region("east", "west")))
	s.API.Apply(deployment("nobody", region("moon")))
	settled(t, s, "north", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "coast", counts(12, 12, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "nobody", counts(0, 0, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest()

	s.Steady(func() {
		fault.Inject(s, fault.Kill(services))
		fault.Heal(s, fault.Kill(services))
		start := time.Now()
		s.WaitReady(3)
		s.Measured("ready after SIGKILL of all services", time.Since(start), time.Minute)
		if d := lab.Difference(before, s.AtRest()); len(d) > 0 {
			t.Fatalf("the restart changed something: %q", d)
		}
	})
}
