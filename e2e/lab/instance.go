package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
	Kube *Gateway // its way to the apiserver; nil unless it is a patcher, a child of the test
	api  *wall    // the same of a container
	Log  *Log     // what it logs

	http func() string // where a container's HTTP can be reached from here; nil without one

	mu       sync.Mutex
	proc     process
	expected *atomic.Bool // its exit; one for each process, since that of the last is seen when the next runs
}

// Start starts a replica of a service ([fleet.ServicePatcher] …) with flags of its own.
func (s *Stack) Start(service string, flags ...string) *Instance {
	s.t.Helper()
	i := s.replica(service)
	i.Start(flags...)
	return i
}

// StartServices starts one replica of each service and waits until they are ready.
func (s *Stack) StartServices() []*Instance {
	s.t.Helper()
	var all []*Instance
	first := map[*Instance]*container{}
	for _, service := range fleet.Services() {
		i := s.replica(service)
		all, first[i] = append(all, i), nil
	}
	s.start(first)
	s.WaitReady(len(all))
	return all
}

// replica is one of a service that was not started yet. On containers, the rest of what it is told is in
// docker-compose.yml.
func (s *Stack) replica(service string) *Instance {
	s.t.Helper()
	i := s.instance(service, strings.TrimPrefix(service, "fleet-"))
	i.args = []string{
		"--fleet", s.Fleet, "--instance", i.id,
		"--lease-ttl", LeaseTTL.String(), "--log-level", "debug", "--kv-replicas", strconv.Itoa(s.replicas),
	}
	if s.project != nil {
		return i
	}
	i.args = append(i.args, "--nats-url", i.NATS.URL(), "--exit-with-parent", "--http-address-file", i.addressFile())
	if service == fleet.ServicePatcher {
		kubeconfig := s.Kube.Kubeconfig
		if !s.direct {
			i.Kube = newGateway(s.t, s.Kube.Config)
			kubeconfig = i.Kube.kubeconfig(s.t, s.dir, i.id)
		}
		i.args = append(i.args, "--kubeconfig", kubeconfig)
	}
	return i
}

// StartDevices starts simulated devices dev-0001 … with flags of their own.
func (s *Stack) StartDevices(n int, flags ...string) *Instance {
	s.t.Helper()
	i := s.instance("fleet-sim", "sim")
	i.args = []string{
		"--devices", fmt.Sprint(n), "--prefix", "dev-",
		"--label-cycle", "region=north,east,south,west", "--label-cycle", "arch=arm64,amd64",
	}
	if s.project != nil {
		i.args = append(i.args, "--data-dir", "/var/lib/fleet/devices")
	} else {
		i.args = append(i.args, "--nats-url", i.NATS.URL(), "--exit-with-parent", "--data-dir", filepath.Join(s.dir, "devices"))
	}
	i.Start(flags...)
	return i
}

// instance is one that was not started yet: "patcher-1".
func (s *Stack) instance(name, id string) *Instance {
	i := &Instance{stack: s, name: name, NATS: s.network(), Log: newLog()}
	if s.project != nil {
		of := func() *container { return i.process().(*container) }
		i.NATS.wall, i.api = &wall{t: s.t, port: natsPort, of: of}, &wall{t: s.t, port: kubePort, of: of}
		i.http = sync.OnceValue(func() string { return forward(s.t, i.dial) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances = append(s.instances, i)
	i.id = fmt.Sprintf("%s-%d", id, len(s.instances))
	return i
}

// natsPort is where NATS listens in its container.
const natsPort = 4222

// Start starts the process again, with the flags it had and more, which win.
func (i *Instance) Start(flags ...string) {
	i.stack.t.Helper()
	last, _ := i.process().(*container)
	if len(flags) > 0 {
		last = nil // a container cannot be given other flags
	}
	i.args = append(i.args, flags...)
	i.stack.start(map[*Instance]*container{i: last})
}

// start starts processes side by side: containers take their time. Each is given its last container, if it is to be
// started again.
func (s *Stack) start(last map[*Instance]*container) {
	s.t.Helper()
	var begun sync.WaitGroup
	var failed atomic.Bool
	for i, container := range last {
		_ = os.Remove(i.addressFile()) // of the process before
		log := openLog(s.t, s.dir, i.id)
		begun.Go(func() {
			proc, err := i.begin(container, logWriter{i.Log, log})
			if err != nil {
				s.t.Errorf("start %s ('make e2e' builds it): %v", i.name, err)
				failed.Store(true)
				return
			}
			i.begins(proc, log)
		})
	}
	begun.Wait()
	if failed.Load() {
		s.t.FailNow()
	}
}

// begins takes note of a process that was started.
func (i *Instance) begins(proc process, log *os.File) {
	expected := &atomic.Bool{}
	i.mu.Lock()
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

// begin starts a child process or a container, the last one again if there is one.
func (i *Instance) begin(last *container, out io.Writer) (process, error) {
	if last != nil {
		return last.again(out)
	}
	if i.stack.project != nil {
		return i.stack.project.start(i.name, i.id, i.args, out)
	}
	return child.Start(child.Spec{
		Name: i.id, Path: filepath.Join(i.stack.own, i.name), Args: i.args, Stdout: out, Stderr: out,
		Env: append(service.WithoutSettings(os.Environ()), "GORACE=halt_on_error=1"), // a race ends the process
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
	i.stack.Eventually(20*time.Second, i.id+" serves HTTP", func(ctx context.Context) (err error) {
		if i.http != nil { // which takes connections whether anybody serves or not
			conn, err := i.dial()
			if err != nil {
				return err
			}
			_ = conn.Close()
		}
		address, err = i.address()
		return err
	})
	return address
}

// kubePort is where k3s listens in its container.
const kubePort = 6443

// RefuseAPI ends a patcher's connections to the apiserver and refuses new ones, until AcceptAPI.
func (i *Instance) RefuseAPI() {
	i.stack.use(Cuts)
	if i.Kube != nil {
		i.Kube.Refuse()
		return
	}
	i.api.refuse()
}

// AcceptAPI lets a patcher connect to the apiserver again.
func (i *Instance) AcceptAPI() {
	i.stack.use(Cuts)
	if i.Kube != nil {
		i.Kube.Accept()
		return
	}
	i.api.accept()
}

// APIRequests is how many requests of a patcher the apiserver's gateway has seen: on containers, where there is none, 0.
func (i *Instance) APIRequests() int {
	if i.Kube == nil {
		return 0
	}
	return i.Kube.Requests()
}

// APIConnections is how often a patcher has connected to the apiserver, or tried to: on containers, since it was asked
// for the first time.
func (i *Instance) APIConnections() int {
	i.stack.t.Helper()
	if i.Kube != nil {
		return i.Kube.Accepted()
	}
	return i.api.dialed()
}

// ID is the instance name that the service uses in leases and health.
func (i *Instance) ID() string { return i.id }

// Service is the name of the binary: [fleet.ServicePatcher] …
func (i *Instance) Service() string { return i.name }

// Pid is the id of the process that was started last.
func (i *Instance) Pid() int { return i.process().Pid() }

// Container is the id of the container that was started last, "" without one.
func (i *Instance) Container() string {
	if c, ok := i.process().(*container); ok {
		return c.id
	}
	return ""
}

// dial connects to where the service in the container serves HTTP.
func (i *Instance) dial() (net.Conn, error) { return dialInside(i.Pid(), "127.0.0.1:8080") }

func (i *Instance) process() process {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.proc
}

func (i *Instance) note(kind record.ProcessKind) {
	i.stack.note(record.Event{Process: &record.Process{Kind: kind, Service: i.name, Instance: i.id}})
}

func (i *Instance) exited(proc process, expected bool) {
	e := &record.Process{Kind: record.ProcessExited, Service: i.name, Instance: i.id, Expected: expected}
	if err := proc.Err(); err != nil {
		e.Exit = err.Error()
	}
	if !expected {
		i.stack.mu.Lock()
		i.stack.deaths = append(i.stack.deaths, fmt.Sprintf("%s had ended: %s", i.id, e.Exit))
		i.stack.mu.Unlock()
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
	if i.process() == nil {
		return // it could not be started
	}
	i.Log.Free()
	if i.Running() {
		i.ExpectExit()
		_ = i.process().Kill()
	}
	if id := i.Container(); id != "" {
		ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
		defer cancel()
		if _, err := docker(ctx, "rm", "--force", id); err != nil {
			i.stack.t.Errorf("remove the container of %s: %v", i.id, err)
		}
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
				holder = s.started(h.Instance)
				return nil
			}
		}
		return fmt.Errorf("nobody holds it")
	})
	return holder
}

func (s *Stack) started(id string) *Instance {
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
