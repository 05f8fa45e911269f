package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
	"harmony.dev/fleet/child"
	"harmony.dev/fleet/rpc"
	"harmony.dev/fleet/service"
)

// Instance is one process of the product that can be started again.
type Instance struct {
	stack *Stack
	name  string // of the binary
	id    string
	args  []string

	NATS *Network // its way to NATS
	Kube *Gateway // its way to the apiserver; nil unless it is a patcher
	Log  *Log     // what it logs

	mu       sync.Mutex
	proc     *child.Process
	expected *atomic.Bool // its exit; one for each process, since that of the last is seen when the next runs
}

// Start starts a replica of a service ([fleet.ServicePatcher] …) with flags of its own.
func (s *Stack) Start(service string, flags ...string) *Instance {
	s.t.Helper()
	id := fmt.Sprintf("%s-%d", strings.TrimPrefix(service, "fleet-"), s.next())
	i := &Instance{stack: s, name: service, id: id, NATS: s.network(), Log: newLog()}
	i.args = []string{
		"--nats-url", i.NATS.URL(), "--fleet", s.Fleet, "--instance", id, "--exit-with-parent",
		"--lease-ttl", LeaseTTL.String(), "--log-level", "debug", "--kv-replicas", strconv.Itoa(s.replicas),
		"--http-address-file", i.addressFile(),
	}
	if service == fleet.ServicePatcher {
		kubeconfig := s.Kube.Kubeconfig
		if !s.direct {
			i.Kube = newGateway(s.t, s.Kube.Config)
			kubeconfig = i.Kube.kubeconfig(s.t, s.dir, id)
		}
		i.args = append(i.args, "--kubeconfig", kubeconfig)
	}
	return s.launch(i, flags)
}

// StartServices starts one replica of each service and waits until they are ready.
func (s *Stack) StartServices() []*Instance {
	s.t.Helper()
	var all []*Instance
	for _, service := range fleet.Services() {
		all = append(all, s.Start(service))
	}
	s.WaitReady(len(all))
	return all
}

// StartDevices starts simulated devices dev-0001 … with flags of their own.
func (s *Stack) StartDevices(n int, flags ...string) *Instance {
	s.t.Helper()
	id := fmt.Sprintf("sim-%d", s.next())
	i := &Instance{stack: s, name: "fleet-sim", id: id, NATS: s.network(), Log: newLog()}
	i.args = []string{
		"--nats-url", i.NATS.URL(), "--devices", fmt.Sprint(n), "--prefix", "dev-", "--exit-with-parent",
		"--label-cycle", "region=north,east,south,west", "--label-cycle", "arch=arm64,amd64",
		"--data-dir", filepath.Join(s.dir, "devices"),
	}
	return s.launch(i, flags)
}

func (s *Stack) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.instances) + 1
}

func (s *Stack) launch(i *Instance, flags []string) *Instance {
	s.t.Helper()
	s.mu.Lock()
	s.instances = append(s.instances, i)
	s.mu.Unlock()
	i.Start(flags...)
	return i
}

// Start starts the process again, with the flags it had and more, which win.
func (i *Instance) Start(flags ...string) {
	i.stack.t.Helper()
	i.args = append(i.args, flags...)
	_ = os.Remove(i.addressFile()) // of the process before
	log := openLog(i.stack.t, i.stack.dir, i.id)
	out := logWriter{i.Log, log}
	proc, err := child.Start(child.Spec{
		Name: i.id, Path: filepath.Join(i.stack.own, i.name), Args: i.args, Stdout: out, Stderr: out,
		Env: append(service.WithoutSettings(os.Environ()), "GORACE=halt_on_error=1"), // a race ends the process
	})
	if err != nil {
		i.stack.t.Fatalf("start %s ('make e2e' builds it): %v", i.name, err)
	}
	i.mu.Lock()
	expected := &atomic.Bool{}
	i.proc, i.expected = proc, expected
	i.mu.Unlock()
	i.stack.note(record.Event{Process: &record.Process{
		Kind: record.ProcessStarted, Service: i.name, Instance: i.id, Args: slices.Clone(i.args),
	}})
	i.stack.watchers.Go(func() {
		<-proc.Done()
		_ = log.Close()
		i.exited(proc, expected.Load())
	})
}

// Stop ends the process with SIGTERM and expects exit code 0.
func (i *Instance) Stop() {
	i.stack.t.Helper()
	i.ExpectExit()
	i.note(record.ProcessStopping)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(i.process().Stop(ctx), i.process().Err()); err != nil {
		i.stack.t.Fatalf("stop %s: %v (logs: %s)", i.id, err, i.stack.dir)
	}
}

// Kill ends the process with SIGKILL.
func (i *Instance) Kill() {
	i.stack.t.Helper()
	i.ExpectExit()
	i.note(record.ProcessKilled)
	i.signalled("kill", i.process().Kill())
}

// Pause stops the process with SIGSTOP, as a machine that hangs would.
func (i *Instance) Pause() {
	i.stack.t.Helper()
	i.note(record.ProcessPaused)
	i.signalled("pause", i.process().Signal(syscall.SIGSTOP))
}

// Continue lets a paused process go on.
func (i *Instance) Continue() {
	i.stack.t.Helper()
	i.note(record.ProcessContinued)
	i.signalled("continue", i.process().Signal(syscall.SIGCONT))
}

// ExpectExit says that the process is to end by what the scenario does, before it is started again. Any
// other exit fails the scenario.
func (i *Instance) ExpectExit() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.expected.Store(true)
}

// Exited waits until the process has ended and returns how: nil is exit code 0.
func (i *Instance) Exited(within time.Duration) error {
	i.stack.t.Helper()
	select {
	case <-i.process().Done():
		return i.process().Err()
	case <-time.After(within):
		i.stack.t.Fatalf("%s still runs after %s (logs: %s)", i.id, within, i.stack.dir)
		return nil
	}
}

// Running reports whether the process has not ended.
func (i *Instance) Running() bool {
	select {
	case <-i.process().Done():
		return false
	default:
		return true
	}
}

// addressFile is where the instance says which address it listens on.
func (i *Instance) addressFile() string { return filepath.Join(i.stack.dir, i.id+".http") }

// HTTP is where a service that was started serves its probes: "127.0.0.1:41234".
func (i *Instance) HTTP() string {
	i.stack.t.Helper()
	var address string
	i.stack.Eventually(20*time.Second, i.id+" serves HTTP", func(context.Context) error {
		text, err := os.ReadFile(i.addressFile())
		address = strings.TrimSpace(string(text))
		return err
	})
	return address
}

// ID is the instance name that the service uses in leases and health.
func (i *Instance) ID() string { return i.id }

// Service is the name of the binary: [fleet.ServicePatcher] …
func (i *Instance) Service() string { return i.name }

// Pid is the id of the process that was started last.
func (i *Instance) Pid() int { return i.process().Pid() }

func (i *Instance) process() *child.Process {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.proc
}

func (i *Instance) note(kind record.ProcessKind) {
	i.stack.note(record.Event{Process: &record.Process{Kind: kind, Service: i.name, Instance: i.id}})
}

func (i *Instance) exited(proc *child.Process, expected bool) {
	e := &record.Process{Kind: record.ProcessExited, Service: i.name, Instance: i.id, Expected: expected}
	if err := proc.Err(); err != nil {
		e.Exit = err.Error()
	}
	i.stack.note(record.Event{Process: e})
}

func (i *Instance) signalled(what string, err error) {
	i.stack.t.Helper()
	if err != nil {
		i.stack.t.Fatalf("%s %s: %v", what, i.id, err)
	}
}

func (i *Instance) end() {
	i.Log.Free()
	if i.Running() {
		i.ExpectExit()
		_ = i.process().Kill()
	}
}

// Health asks every replica of every service.
func (s *Stack) Health(ctx context.Context) []fleet.Health {
	nc := s.Conn()
	services := fleet.Services()
	answers := make([][]fleet.Health, len(services))
	var wg sync.WaitGroup
	for i, service := range services {
		wg.Go(func() {
			hs, err := rpc.CallEvery[struct{}, fleet.Health](ctx, nc, fleet.HealthEndpoint(service), struct{}{}, 300*time.Millisecond)
			if err == nil {
				answers[i] = hs
			}
		})
	}
	wg.Wait()
	return slices.Concat(answers...)
}

// WaitReady waits until n instances answer, all of them at rest: state ready, and each service has
// one lease holder.
func (s *Stack) WaitReady(n int) {
	s.t.Helper()
	s.Eventually(60*time.Second, fmt.Sprintf("%d instances at rest", n), func(ctx context.Context) error { return s.Ready(ctx, n) })
}

// Ready returns why not n instances answer, all of them at rest.
func (s *Stack) Ready(ctx context.Context, n int) error {
	hs := s.Health(ctx)
	if len(hs) != n {
		return fmt.Errorf("%d of %d instances answer", len(hs), n)
	}
	return atRest(hs)
}

func openLog(t testing.TB, dir, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatalf("open a log: %v", err)
	}
	return f
}

// Holder returns the instance of a service that holds its lease.
func (s *Stack) Holder(service string) *Instance {
	s.t.Helper()
	var holder *Instance
	s.Eventually(30*time.Second, "a lease holder of "+service, func(ctx context.Context) error {
		for _, h := range s.Health(ctx) {
			if h.Service == service && h.Lease != nil && h.Lease.Held {
				holder = s.instance(h.Instance)
				return nil
			}
		}
		return fmt.Errorf("nobody holds it")
	})
	return holder
}

func (s *Stack) instance(id string) *Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.instances {
		if i.id == id {
			return i
		}
	}
	s.t.Fatalf("no instance %s was started here", id)
	return nil
}

// Epoch is the revision of the epoch key of a fenced bucket.
func (s *Stack) Epoch(bucket string) uint64 {
	s.t.Helper()
	entries, err := s.NATS.Entries(s.t.Context(), bucket)
	if err != nil {
		s.t.Fatalf("read %s: %v", bucket, err)
	}
	return entries[fleet.KeyEpoch].Revision
}
