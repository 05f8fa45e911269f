package scenarios

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   the NATS server is killed and stays away for four times as long as it takes a device to become stale; one
// device is switched off meanwhile.
// Promise: each service says, where a probe asks, that it cannot reach NATS, and none ends. Nobody takes the outage for
// the death of the devices: no status counts any but the one as stale, neither meanwhile nor when NATS returns,
// and no other Device is written.
// Budget:  said within 10 s; ready within 20 s of the return of NATS, the statuses right 20 s later.
// Found:   -
func TestR21_NATSAway(t *testing.T) {
	t.Parallel()
	const devices = 12
	s := lab.New(t, lab.Options{})
	startPatient(s, r21Interval, r21StaleAfter, r21Grace)
	beat := []string{"--heartbeat", r21Interval.String()}
	s.StartDevices(devices-1, beat...)
	off := s.StartDevices(1, append(beat, "--first", fmt.Sprint(devices))...)
	registered(t, s, devices)
	s.API.Apply(deployment("web", region("north", "east", "south", "west")))
	settled(t, s, "web", counts(devices, devices, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest()
	statuses := s.API.RecordStatuses("web")

	gone := time.Now()
	fault.Inject(s, fault.KillNATS{})
	fault.Inject(s, fault.Kill{off})
	for _, service := range fleet.Services() {
		unreachable(s, s.Instances(service)[0])
	}
	s.Measured("every service says that it cannot reach NATS", time.Since(gone), 10*time.Second)
	time.Sleep(time.Until(gone.Add(4 * r21StaleAfter))) // the time that it is away
	for _, i := range s.Instances("") {
		if i != off && !i.Running() {
			t.Errorf("%s ended", i.ID())
		}
	}

	fault.Heal(s, fault.KillNATS{})
	back := time.Now()
	s.WaitReady(3)
	s.Measured("ready after the return of NATS", time.Since(back), 20*time.Second)
	settled(t, s, "web", counts(devices, devices-1, 0, 0, 1), fleet.ConditionTrue)
	s.Measured("the device that is off counted as stale, and no other", time.Since(back), 40*time.Second)
	for _, status := range statuses.All() {
		if c := countsOf(status.Aggregate); c != counts(devices, devices, 0, 0, 0) && c != counts(devices, devices-1, 0, 0, 1) {
			t.Errorf("a status counted %v", c)
		}
	}
	after := s.AtRest()
	for name, was := range before.Resources {
		if is := after.Resources[name]; is != was && name != fleet.KindDeployment+"/web" && name != fmt.Sprintf("%s/dev-%04d", fleet.KindDevice, devices) {
			t.Errorf("%s was written: %v became %v", name, was, is)
		}
	}
	fault.Heal(s, fault.Kill{off})
	settled(t, s, "web", counts(devices, devices, 0, 0, 0), fleet.ConditionTrue)
	s.AtRest()
}

// unreachable waits until an instance says that it cannot reach NATS. Who cannot is asked by HTTP.
func unreachable(s *lab.Stack, i *lab.Instance) {
	s.T().Helper()
	s.Eventually(20*time.Second, i.ID()+" to say that it cannot reach NATS", func(ctx context.Context) error {
		h, err := i.Probe(ctx)
		says := slices.ContainsFunc(h.Reasons, func(r fleet.Reason) bool { return r.Reason == "NATSUnreachable" })
		if err == nil && (h.State != fleet.StateDegraded || !says) {
			err = fmt.Errorf("it is %s because of %v", h.State, h.Reasons)
		}
		return err
	})
}
