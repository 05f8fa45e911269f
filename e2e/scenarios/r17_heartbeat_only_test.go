package scenarios

import (
	"context"
	"fmt"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// Fault:   restart while some devices have info and heartbeats but nothing to run, and one has
// heartbeats but no info.
// Promise: the first are known and idle, in no count of any Deployment; the other is asked to resync
// and shown as unregistered.
// Budget:  20 s.
// Found:   -
func TestR17_HeartbeatOnlyDevices(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	services := s.StartServices()
	s.StartDevices(4, "--heartbeat", "1s")
	registered(t, s, 4)
	s.API.Apply(deployment("web", region("north")))
	settled(t, s, "web", counts(1, 1, 0, 0, 0), fleet.ConditionTrue)
	fault.Inject(s, fault.Kill(services))
	asked, err := s.Conn().SubscribeSync(fleet.ResyncSubject("ghost"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.NATS.JetStream().Publish(t.Context(), fleet.KeySubject(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey("ghost")), []byte(`{}`)); err != nil {
		t.Fatalf("publish a heartbeat: %v", err)
	}
	start := time.Now()
	fault.Heal(s, fault.Kill(services))
	s.WaitReady(3)

	if _, err := asked.NextMsg(20 * time.Second); err != nil {
		t.Errorf("the device without info was not asked to resync: %v", err)
	}
	s.Eventually(20*time.Second, "devices as they are", func(ctx context.Context) error {
		list, err := rpc.Call[fleet.DevicesListRequest, fleet.DevicesListResponse](ctx, s.Conn(), fleet.DevicesList, fleet.DevicesListRequest{})
		if err != nil {
			return err
		}
		return deviceViews(list.Items)
	})
	s.Measured("asked to resync and shown as they are", time.Since(start), 20*time.Second)
	for registered, want := range map[bool]int{true: 4, false: 1} {
		req := fleet.DevicesListRequest{Registered: &registered}
		list, err := rpc.Call[fleet.DevicesListRequest, fleet.DevicesListResponse](t.Context(), s.Conn(), fleet.DevicesList, req)
		if err != nil || list.Total != want {
			t.Errorf("registered %t: %d devices, want %d (%v)", registered, list.Total, want, err)
		}
	}
	settled(t, s, "web", counts(1, 1, 0, 0, 0), fleet.ConditionTrue)
	if err := s.API.Gone(t.Context(), fleet.KindDevice, "ghost"); err != nil {
		t.Errorf("a device without info was registered: %v", err)
	}
	onlyHeartbeats(t, s, 6*time.Second)
}

// onlyHeartbeats waits until devices have gone on to be heard of for so long, and checks that nothing was
// written because of that or of the time.
func onlyHeartbeats(t *testing.T, s *lab.Stack, d time.Duration) {
	t.Helper()
	before := s.AtRest()
	until := time.Now().Add(d)
	s.Eventually(d+10*time.Second, "heartbeats to go on", func(ctx context.Context) error {
		beats, err := s.NATS.Keys(ctx, fleet.BucketDeviceHeartbeat)
		delete(beats, fleet.HeartbeatKey("ghost"))
		for key, e := range beats {
			if e.Stamp.Before(until) {
				return fmt.Errorf("%s is of %s", key, e.Stamp)
			}
		}
		return err
	})
	if d := lab.Difference(before, s.MustPicture()); len(d) > 0 {
		t.Errorf("heartbeats and time changed something: %q", d)
	}
}

// deviceViews checks one device that runs something, three idle ones and the unregistered one.
func deviceViews(items []fleet.DeviceView) error {
	got := map[fleet.DeviceID]string{}
	for _, d := range items {
		got[d.Name] = fmt.Sprintf("registered=%t state=%s deployments=%d", d.Registered, d.State, d.Deployments)
	}
	want := map[fleet.DeviceID]string{
		"dev-0001": "registered=true state=Fresh deployments=1",
		"dev-0002": "registered=true state=Fresh deployments=0",
		"dev-0003": "registered=true state=Fresh deployments=0",
		"dev-0004": "registered=true state=Fresh deployments=0",
		"ghost":    "registered=false state=Fresh deployments=0",
	}
	if d := lab.Changed("", stringKeys(want), stringKeys(got)); len(d) > 0 {
		return fmt.Errorf("%q", d)
	}
	return nil
}

func stringKeys(m map[fleet.DeviceID]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[string(k)] = v
	}
	return out
}
