package accounts

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"harmony.dev/e2e/introspection"
	"harmony.dev/fleet"
)

// TestPeople: a person with the two contexts sees and asks everything. The fleet command needs only that of CONTROL. One
// who only looks asks what changes nothing.
func TestPeople(t *testing.T) {
	s := newStack(t, []string{deviceID(1), deviceID(2)})
	s.device(1)
	s.device(2)
	s.registered(1, 2)
	s.ready()
	control, data, viewer := s.context("ADMIN"), s.context("ADMIN_DATA"), s.context("VIEWER")
	for _, c := range []struct{ command, want string }{
		{"nats --context " + control + " micro ls", fleet.ServicePatcher},
		{"nats --context " + control + " micro info " + fleet.ServiceReconciler, fleet.PlanShow.Subject},
		{"nats --context " + control + " micro stats " + fleet.ServiceAggregator, fleet.DevicesList.Name},
		{"nats --context " + control + " kv ls", fleet.BucketLeases},
		{"nats --context " + data + " kv ls", fleet.BucketDesiredState},
		{"nats --context " + data + " kv ls device-info", "info.pi-0002"},
		{"nats --context " + data + " kv get device-info info.pi-0001 --raw", `"region":"north"`},
		{"nats --context " + control + " request fleet.v1.aggregator.devices.list {}", "pi-0002"},
		{"fleet --nats-context " + control + " status", fleet.ServiceAggregator},
		{"fleet --nats-context " + control + " get devices", "pi-0002"},
		{"fleet --nats-context " + control + " doctor", "nothing is wrong"},
		{"fleet --nats-context " + viewer + " status", fleet.ServiceAggregator},
		{"fleet --nats-context " + viewer + " explain device pi-0001", "pi-0001"},
		{"fleet --nats-context " + viewer + " plan", ""},
		{"nats --context " + viewer + " micro ls", fleet.ServicePatcher},
	} {
		args := strings.Fields(c.command)
		out, err := s.command(args[0], args[1:]...)
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v, want %q in\n%s", c.command, err, c.want, out)
		}
	}
	s.documented(t)
	s.mends(t, control)
	s.noViolation()
}

// documented runs what docs/introspection.md shows of the two accounts.
func (s *stack) documented(t *testing.T) {
	t.Helper()
	for name, user := range map[string]string{"admin": "ADMIN", "admin-data": "ADMIN_DATA"} {
		text, err := os.ReadFile(s.context(user))
		if err == nil {
			err = os.MkdirAll(s.path("nats/context"), 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.write("nats/context/"+name+".json", string(text))
	}
	_, examples := introspection.Read(t)
	ran := 0
	for _, e := range examples {
		if !e.Accounts {
			continue
		}
		ran++
		if err := e.Check(s.shell(e.Command)); err != nil {
			t.Error(err)
		}
	}
	if ran == 0 {
		t.Error("the document shows nothing of it")
	}
}

// mends lets the doctor find an entry of DATA, and removes it by the command that it prints.
func (s *stack) mends(t *testing.T, control string) {
	t.Helper()
	if _, err := s.conn("AGGREGATOR_DATA").Request(fleet.KeySubject(fleet.BucketDeviceState, "state.pi-0001.web"), []byte("no report"), wait); err != nil {
		t.Fatal(err)
	}
	out, err := s.command("fleet", "--nats-context", control, "doctor", "-o", "json")
	var report struct {
		Findings []struct{ Kind, Bucket, Command string }
	}
	if err == nil || json.Unmarshal([]byte(out), &report) != nil || len(report.Findings) == 0 {
		t.Fatalf("the doctor finds nothing (%v): %s", err, out)
	}
	for _, f := range report.Findings {
		if f.Bucket != fleet.BucketDeviceState || f.Command == "" {
			continue
		}
		if out, err := s.shell(f.Command); err != nil {
			t.Errorf("%s: %v\n%s", f.Command, err, out)
		}
	}
	s.eventually("the doctor finds nothing more", func() error {
		if out, err := s.command("fleet", "--nats-context", control, "doctor"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}
