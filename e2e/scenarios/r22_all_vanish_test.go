package scenarios

import (
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   in a fleet so small that no count of deletes says anything, the apiserver comes back with a backup of before the
// first Deployment, and later with the newer store; then all Devices vanish while their agents are dead, which later
// live again; then the apiserver comes back with the backup for good.
// Promise: the last of its kind is never lost unasked: each time everything is held, and seen to be in all places. What
// comes back releases it, and nothing was written. What does not is carried out when a person runs the
// command that is shown.
// Budget:  held and shown within 30 s, released within 30 s.
// Found:   -
func TestR22_AllVanish(t *testing.T) {
	t.Parallel()
	s := newBraked(t, lab.Options{OwnKube: true}, 1)
	agents := fault.Kill{s.StartDevices(3, quickDevices...)}
	registered(t, s.Stack, 3)
	old := fault.BackUpAPIServer(s.Stack)
	s.WaitReady(3)
	s.API.Apply(deployment("base", fleet.Selector{}))
	s.API.Apply(deployment("web", region("north", "east")))
	whole := func() {
		settled(t, s.Stack, "base", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
		settled(t, s.Stack, "web", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
	}
	whole()
	before := s.AtRest().Keys[fleet.BucketDesiredState]
	deployments := []string{"base", "web"}
	devices := fault.Vanish{Kind: fleet.KindDevice, Names: []string{"dev-0001", "dev-0002", "dev-0003"}}

	lost := time.Now()
	fault.Inject(s.Stack, old)
	s.held(5, nil, deployments)
	s.Measured("all Deployments lost: held and shown", time.Since(lost), 30*time.Second)
	s.untouched("all Deployments lost", before)
	fault.Heal(s.Stack, old)
	back := time.Now()
	s.released(3)
	s.Measured("all Deployments back: released", time.Since(back), 30*time.Second)
	whole()
	s.untouched("all Deployments back", before)

	fault.Inject(s.Stack, agents) // whoever lives is registered again
	lost = time.Now()
	fault.Inject(s.Stack, devices)
	s.held(5, deployments, nil)
	s.Measured("all Devices lost: held and shown", time.Since(lost), 30*time.Second)
	s.untouched("all Devices lost", before)
	back = time.Now()
	fault.Heal(s.Stack, agents)
	s.released(3)
	s.Measured("all Devices back: released", time.Since(back), 30*time.Second)
	whole()
	s.untouched("all Devices back", before)

	fault.Inject(s.Stack, old)
	hold := s.held(5, nil, deployments)
	s.untouched("all Deployments lost for good", before)
	approved := time.Now()
	s.approveAsShown(hold)
	s.released(3)
	tornDown(t, s.Stack, deployments...)
	s.Measured("approved: carried out", time.Since(approved), 20*time.Second)
	if left := s.keys(); len(left) > 0 {
		t.Errorf("what nobody wants any more: %v", left)
	}
	s.AtRest()
}
