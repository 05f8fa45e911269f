package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   a device publishes as it may, and asks for the acknowledgements under the keys of another one that is
// switched off: the server writes them there. Then the Device of the other one is deleted.
// Promise: what the other one said last counts on, and it is not heard of by that; the entries are shown. When its
// Device is deleted, everything of it goes.
// Budget:  shown within 20 s; gone within 20 s of the deletion.
// Found:   a report that was overwritten so had another revision than the one in view, by which it was to be removed:
// the Device stayed Terminating until the aggregator was restarted.
func TestR11_AimedAcknowledgements(t *testing.T) {
	t.Parallel()
	s := lab.New(t, lab.Options{})
	services := s.StartServices()
	s.StartDevices(3)
	off := s.StartDevices(1, "--prefix", "old-")
	registered(t, s, 4)
	s.API.Apply(deployment("web", fleet.Selector{}))
	settled(t, s, "web", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	s.WaitReady(len(services))
	fault.Inject(s, fault.Kill{off})
	before := s.AtRest()

	aimed := map[string]string{
		fleet.BucketDeviceInfo: "info.old-0001", fleet.BucketDeviceState: "state.old-0001.web", fleet.BucketDeviceHeartbeat: "heartbeat.old-0001",
	}
	statuses := s.API.RecordStatuses("web")
	began := time.Now()
	for bucket, key := range aimed {
		fault.Inject(s, fault.AimedAck{From: "dev-0001", Bucket: bucket, Key: key})
		setAside(t, s, fleet.ServiceAggregator, bucket, map[string]bool{key: true})
	}
	s.Measured("aimed acknowledgements shown", time.Since(began), 20*time.Second)
	out, err := s.FleetCommand(t.Context(), "doctor")
	for _, key := range aimed {
		if err == nil || !strings.Contains(out, key) {
			t.Errorf("fleet doctor does not show %s (%v):\n%s", key, err, out)
		}
	}
	if d := lab.Changed("", before.Resources, s.AtRest().Resources); len(d) > 0 {
		t.Errorf("resources were written: %q", d)
	}
	if all := statuses.All(); slices.ContainsFunc(all, func(st fleet.DeploymentStatus) bool { return countsOf(st.Aggregate) != counts(4, 4, 0, 0, 0) }) {
		t.Errorf("statuses: %+v", all)
	}

	s.API.Delete(fleet.KindDevice, "old-0001")
	deleted := time.Now()
	s.Eventually(20*time.Second, "the Device to be gone, and all that was said of it", func(ctx context.Context) error {
		left, err := keysOf(ctx, s, "old-")
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return s.API.Gone(ctx, fleet.KindDevice, "old-0001")
	})
	s.Measured("a Device with aimed acknowledgements gone", time.Since(deleted), 20*time.Second)
	settled(t, s, "web", counts(3, 3, 0, 0, 0), fleet.ConditionTrue)
	s.AtRest()
}
