package accounts

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/child"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/fleettest/kubetest"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
)

// stack is the operator on the server: each service with its own two users, and devices each with its own.
type stack struct {
	*server
	kube  *kubetest.Server
	fleet string
	logs  map[string]*fleettest.Buffer // by process
	admin *nats.Conn                   // a person, on CONTROL
	data  *nats.Conn                   // … and on DATA
}

// beat is how often devices send heartbeats. One that was deleted is asked for all it has when the next comes.
const beat = "1s"

// natsUsers are the prefixes of a service's users in keys.conf.
var natsUsers = map[string]string{fleet.ServicePatcher: "PATCHER", fleet.ServiceReconciler: "RECONCILER", fleet.ServiceAggregator: "AGGREGATOR"}

func newStack(t *testing.T, devices []string) *stack {
	t.Helper()
	s := &stack{server: newServer(t, 1, devices), kube: kubetest.KubeAPI(t), logs: map[string]*fleettest.Buffer{}}
	s.kube.ApplyCRDs(t, filepath.Join(lab.Root(t), "deploy", "crds"))
	s.fleet = s.kube.Namespace(t)
	s.admin, s.data = s.conn("ADMIN"), s.conn("ADMIN_DATA")
	for _, service := range fleet.Services() {
		user := natsUsers[service]
		args := []string{
			"--nats-context", s.context(user + "_DATA"), "--control-nats-context", s.context(user),
			"--fleet", s.fleet, "--instance", service, "--lease-ttl", "3s", "--log-level", "debug", "--exit-with-parent",
		}
		switch service {
		case fleet.ServicePatcher:
			args = append(args, "--kubeconfig", s.kube.Kubeconfig)
		case fleet.ServiceAggregator:
			args = append(args, "--orphan-after", "1s", "--heartbeat-interval", beat) // an hour and 30 s otherwise
		}
		s.run(service, service, args...)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.keepLogs()
		}
	})
	return s
}

// device starts the simulator as the n-th device. Those with an odd number are in the north.
func (s *stack) device(n int) {
	s.t.Helper()
	id := deviceID(n)
	s.run(id, "fleet-sim", "--nats-context", s.context(id), "--devices", "1", "--first", fmt.Sprint(n), "--prefix", "pi-",
		"--label-cycle", "region=north,south", "--heartbeat", beat, "--log-level", "debug", "--exit-with-parent")
}

func deviceID(n int) string { return fmt.Sprintf("pi-%04d", n) }

// run starts a process of the product. It ends with the test.
func (s *stack) run(name, program string, args ...string) {
	s.t.Helper()
	log := &fleettest.Buffer{}
	proc, err := child.Start(child.Spec{
		Name: name, Path: filepath.Join(s.bin, program), Args: args, Env: []string{"HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir},
		Stdout: log, Stderr: log,
	})
	if err != nil {
		s.t.Fatalf("start %s ('make build' first): %v", name, err)
	}
	s.logs[name] = log
	s.t.Cleanup(func() {
		select {
		case <-proc.Done():
			s.t.Errorf("%s ended by itself: %v", name, proc.Err())
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := errors.Join(proc.Stop(ctx), proc.Err()); err != nil {
			s.t.Errorf("stop %s: %v", name, err)
		}
	})
}

func (s *stack) keepLogs() {
	for name, log := range s.logs {
		text := log.String()
		s.t.Logf("%s logged (the end of it):\n%s", name, text[max(0, len(text)-4000):])
	}
}

// shell runs a command line as a person pastes it, with the tools in the path.
func (s *stack) shell(line string) (string, error) {
	return s.command("/bin/bash", "-c", "PATH="+s.bin+":$PATH; "+line)
}

// kubectl runs kubectl in the fleet's namespace.
func (s *stack) kubectl(args ...string) (string, error) {
	return s.command("kubectl", append([]string{"--kubeconfig", s.kube.Kubeconfig, "--namespace", s.fleet}, args...)...)
}

func (s *stack) mustKubectl(args ...string) string {
	s.t.Helper()
	out, err := s.kubectl(args...)
	if err != nil {
		s.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// eventually polls until cond returns nil.
func (s *stack) eventually(what string, cond func() error) {
	s.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not within a minute: %s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// ready waits until all services are at rest, with nothing to complain of.
func (s *stack) ready() {
	s.t.Helper()
	s.eventually("all services ready", func() error {
		for _, service := range fleet.Services() {
			all, err := rpc.CallEvery[struct{}, fleet.Health](s.t.Context(), s.admin, fleet.HealthEndpoint(service), struct{}{}, time.Second)
			if err != nil {
				return err
			}
			for _, h := range all {
				if h.State != fleet.StateReady || len(h.Reasons) > 0 || h.Lease == nil || !h.Lease.Held {
					return fmt.Errorf("%s is %s: %+v, lease %+v", service, h.State, h.Reasons, h.Lease)
				}
			}
		}
		return nil
	})
}

// registered waits until there are these Devices, and no others.
func (s *stack) registered(numbers ...int) {
	s.t.Helper()
	var want []string
	for _, n := range numbers {
		want = append(want, deviceID(n))
	}
	s.eventually("registered devices", func() error {
		out, err := s.kubectl("get", "fdev", "-o", "jsonpath={.items[*].metadata.name}")
		if got := strings.Fields(out); err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	})
}

// entries are the live keys of a bucket in DATA, without book-keeping.
func (s *stack) entries(bucket string) (keys []string, err error) {
	err = kv.Open(s.data, bucket, kv.Provisioning{}).Scan(s.t.Context(), func(m kv.Message) {
		if m.Op == kv.Put && !fleet.IsReserved(m.Key) {
			keys = append(keys, m.Key)
		}
	})
	slices.Sort(keys)
	return keys, err
}

func (s *stack) holds(bucket string, want ...string) {
	s.t.Helper()
	s.eventually("keys of "+bucket, func() error {
		got, err := s.entries(bucket)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	})
}

// noViolation fails the test when the server has denied anything, or a service or device was told so.
func (s *stack) noViolation() {
	s.t.Helper()
	logs := map[string]*fleettest.Buffer{"nats-server": s.log}
	for name, log := range s.logs {
		logs[name] = log
	}
	for name, log := range logs {
		for line := range strings.Lines(log.String()) {
			if strings.Contains(strings.ToLower(line), "violation") {
				s.t.Errorf("%s logs: %s", name, line)
			}
		}
	}
}
