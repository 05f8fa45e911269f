package accounts

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// TestJourney: with the shipped accounts everything works, and nobody is denied anything on the way.
func TestJourney(t *testing.T) {
	s := newStack(t, []string{deviceID(1), deviceID(2), deviceID(3), deviceID(4)})
	for n := range 4 {
		s.device(n + 1)
	}
	s.registered(1, 2, 3, 4)
	s.ready()

	s.mustKubectl("apply", "-f", filepath.Join(lab.Root(t), "examples", "web-north.yaml"))
	s.mustKubectl("wait", "--for=condition=Ready", "--timeout=60s", "fdep/web-north")
	if got := s.mustKubectl("get", "fdep", "web-north", "-o", "jsonpath={.status.aggregate.matchedDeviceCount} {.status.aggregate.running}"); got != "2 2" {
		t.Errorf("matched and running: %s", got)
	}
	s.holds(fleet.BucketDesiredState, "pi-0001.web-north", "pi-0003.web-north")
	s.holds(fleet.BucketDeviceState, "state.pi-0001.web-north", "state.pi-0003.web-north")
	s.mustKubectl("label", "fdev", "pi-0002", "pool=x") // a change that the services carry on

	s.resync(t)

	s.mustKubectl("delete", "fdep", "web-north", "--timeout=60s")
	s.holds(fleet.BucketDesiredState)
	s.holds(fleet.BucketDeviceState)

	before := s.mustKubectl("get", "fdev", "pi-0001", "-o", "jsonpath={.metadata.uid}")
	s.mustKubectl("delete", "fdev", "pi-0001", "--timeout=60s")
	s.eventually("the device that lives registers again", func() error {
		after, err := s.kubectl("get", "fdev", "pi-0001", "-o", "jsonpath={.metadata.uid}")
		if err == nil && after == before {
			err = fmt.Errorf("it is the same Device")
		}
		return err
	})
	s.added(t)
	s.ready()
	s.noViolation()
}

// resync loses a bucket of the devices: its owner creates it again, and all devices are asked for all they have said.
func (s *stack) resync(t *testing.T) {
	t.Helper()
	m, err := s.data.Request("$JS.API.STREAM.DELETE."+fleet.StreamName(fleet.BucketDeviceInfo), nil, wait)
	if err != nil || !strings.Contains(string(m.Data), `"success":true`) {
		t.Fatalf("delete a bucket: %v", err)
	}
	s.holds(fleet.BucketDeviceInfo, "info.pi-0001", "info.pi-0002", "info.pi-0003", "info.pi-0004")
}

// added gives one more device a user, while the others stay connected.
func (s *stack) added(t *testing.T) {
	t.Helper()
	s.devices([]string{deviceID(1), deviceID(2), deviceID(3), deviceID(4), deviceID(5)})
	epoch := s.epoch(t)
	s.reload()
	s.device(5)
	s.registered(1, 2, 3, 4, 5)
	if now := s.epoch(t); now != epoch {
		t.Errorf("the epoch of desired-state went from %d to %d: the reconciler has lost its connection", epoch, now)
	}
	for name, log := range s.logs {
		if n := strings.Count(log.String(), "nats connected"); strings.HasPrefix(name, "fleet-") && n != 2 || !strings.HasPrefix(name, "fleet-") && n != 1 {
			t.Errorf("%s connected %d times: a new device costs the others their connections", name, n)
		}
	}
}

func (s *stack) epoch(t *testing.T) uint64 {
	t.Helper()
	n, err := kv.Open(s.data, fleet.BucketDesiredState, kv.Provisioning{}).Revision(t.Context(), fleet.KeyEpoch)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHostile_BesideTheServices: a device that tries everything while the operator works changes nothing for the others,
// and nothing that the services say of themselves.
func TestHostile_BesideTheServices(t *testing.T) {
	s := newStack(t, []string{deviceID(1), deviceID(2), hostile, neighbour})
	s.device(1)
	s.device(2)
	s.registered(1, 2)
	s.mustKubectl("apply", "-f", filepath.Join(lab.Root(t), "examples", "web-north.yaml"))
	s.mustKubectl("wait", "--for=condition=Ready", "--timeout=60s", "fdep/web-north")
	s.ready()
	s.holds(fleet.BucketDesiredState, "pi-0001.web-north")
	resources := s.mustKubectl("get", "fdep,fdev", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
	epoch := s.epoch(t)

	nc := s.conn(hostile, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	targets := slices.Concat(keys(), calls(), controlKeys(), endpoints(), api(fleet.BucketDesiredState), api(fleet.BucketResources),
		[]string{"$KV.device-state.state.pi-0001.web-north", "$KV.desired-state.pi-0001.web-north", fleet.ResyncSubject("pi-0001")})
	own := []string{"$KV.device-heartbeat.heartbeat." + hostile, fleet.DesiredSubject(hostile)} // no info: it is to stay unregistered
	for _, target := range targets {
		for _, subject := range append(own, target) {
			if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: target, Data: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := nc.Request(own[0], []byte("{}"), wait); err != nil {
		t.Fatalf("the device may not do what it should: %v", err)
	}

	s.ready()
	s.holds(fleet.BucketDesiredState, "pi-0001.web-north")
	s.holds(fleet.BucketDeviceState, "state.pi-0001.web-north")
	if now := s.epoch(t); now != epoch {
		t.Errorf("the epoch went from %d to %d: somebody has spoiled the lease", epoch, now)
	}
	if now := s.mustKubectl("get", "fdep,fdev", "-o", "jsonpath={.items[*].metadata.resourceVersion}"); now != resources {
		t.Errorf("resources were written: from versions %s to %s", resources, now)
	}
	delete(s.logs, hostile)
	for name, log := range s.logs {
		if text := strings.ToLower(log.String()); strings.Contains(text, "violation") || strings.Contains(text, "set aside") {
			t.Errorf("%s has noticed: %s", name, text)
		}
	}
	if !strings.Contains(s.log.String(), "Publish Violation") {
		t.Error("the server does not log who tries what it may not")
	}
}
