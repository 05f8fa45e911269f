package devstack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
	"harmony.dev/fleet/service"
)

// announce waits until the three services are ready and the devices are registered, telling what is
// still missing, then says how to use the stack.
func (st *stack) announce(ctx context.Context) error {
	nc, err := nats.Connect(st.natsURL, nats.Name("fleet dev"), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", service.Redact(st.natsURL), err)
	}
	defer nc.Close()
	if err := st.poll(ctx, func() string { return waitingFor(ctx, nc) }); err != nil {
		return err
	}
	st.say("the three services are ready")
	if err := st.poll(ctx, func() string { return st.waitingForDevices(ctx, nc) }); err != nil {
		return err
	}
	st.say("%d simulated devices are registered", st.cfg.Devices)
	st.print(st.banner())
	return nil
}

// poll asks every 100 ms until nothing is missing, and says what is every 10 s.
func (st *stack) poll(ctx context.Context, missing func() string) error {
	said := time.Now()
	for {
		what := missing()
		if what == "" {
			return nil
		}
		if time.Since(said) > 10*time.Second {
			st.say("waiting: %s", what)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// waitingFor names the services that are not ready, with their reasons; "" when all are.
func waitingFor(ctx context.Context, nc *nats.Conn) string {
	var missing []string
	for _, name := range fleet.Services() {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		h, err := rpc.Call[struct{}, fleet.Health](ctx, nc, fleet.HealthEndpoint(name), struct{}{})
		cancel()
		switch {
		case err != nil:
			missing = append(missing, name+" does not answer yet")
		case !h.Ready:
			missing = append(missing, fmt.Sprintf("%s is %s%s", name, h.State, reasons(h.Reasons)))
		case h.Lease != nil && h.Lease.Epoch == 0:
			missing = append(missing, fmt.Sprintf("%s waits for the lease of an earlier run to end, at most %s", name, leaseTTL))
		}
	}
	return strings.Join(missing, "; ")
}

func reasons(rs []fleet.Reason) string {
	var b strings.Builder
	for _, r := range rs {
		fmt.Fprintf(&b, " (%s: %s)", r.Reason, r.Message)
	}
	return b.String()
}

func (st *stack) waitingForDevices(ctx context.Context, nc *nats.Conn) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	registered := true
	req := fleet.DevicesListRequest{Page: fleet.Page{Limit: 1}, Registered: &registered}
	list, err := rpc.Call[fleet.DevicesListRequest, fleet.DevicesListResponse](ctx, nc, fleet.DevicesList, req)
	if err != nil {
		return "the aggregator does not answer yet: " + err.Error()
	}
	if list.Total < st.cfg.Devices {
		return fmt.Sprintf("%d of %d devices are registered", list.Total, st.cfg.Devices)
	}
	return ""
}

func (st *stack) banner() string {
	return fmt.Sprintf(`
Harmony Fleet runs. Stop it with Ctrl-C; the data stays in %[1]s.

%[10]s  NATS              %[2]s
  Kubernetes        %[3]s (namespace %[4]s)
  logs              %[1]s/logs
  metrics, health   http://%[5]s  http://%[6]s  http://%[7]s  (patcher, reconciler, aggregator)

Try, in another shell:

%[8]s
  kubectl%[9]s apply -f examples/web-north.yaml
  kubectl%[9]s get fdep
  kubectl%[9]s wait --for=condition=Ready fdep --all

  bin/fleet get deployments
  bin/fleet get devices -o wide
  bin/fleet explain deployment web-north
  bin/fleet status
  nats kv ls desired-state
  nats micro ls

Without kubectl and nats of your own: make peers builds both into bin.

`, st.rel(st.cfg.Dir), service.Redact(st.natsURL), st.rel(st.kubeconfig), st.cfg.Namespace,
		loopback(st.cfg.Ports.Patcher), loopback(st.cfg.Ports.Reconciler), loopback(st.cfg.Ports.Aggregator), st.exports(), st.inNamespace(), st.dashboardLine())
}

func (st *stack) dashboardLine() string {
	if st.cfg.Dashboard == nil {
		return ""
	}
	return fmt.Sprintf("  dashboard         http://%s  (token in %s)\n", loopback(st.cfg.Ports.Dashboard), st.rel(filepath.Join(st.cfg.Dir, TokenFile)))
}

// inNamespace is the flag that kubectl needs when the kubeconfig is not the stack's own, whose context has
// the namespace.
func (st *stack) inNamespace() string {
	if st.cfg.Kubeconfig == "" {
		return ""
	}
	return " -n " + st.cfg.Namespace
}

// exports is what a shell needs so that the commands of the banner reach this stack.
func (st *stack) exports() string {
	if st.natsURL == nats.DefaultURL && st.cfg.Namespace == defaultNamespace && st.cfg.Kubeconfig == "" {
		return "  export KUBECONFIG=" + quoted(st.rel(st.kubeconfig)) + " PATH=$PATH:$PWD/bin"
	}
	return fmt.Sprintf("  set -a; . %s; set +a; export PATH=$PATH:$PWD/bin", quoted(st.rel(filepath.Join(st.cfg.Dir, EnvFile))))
}

// say prints one line of progress with the time since the start.
func (st *stack) say(format string, args ...any) {
	st.print(fmt.Sprintf("[%6.1fs] %s\n", time.Since(st.start).Seconds(), fmt.Sprintf(format, args...)))
}

func (st *stack) print(s string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	_, _ = fmt.Fprint(st.cfg.Out, s) // a person's terminal: nothing to do when it is gone
}

// rel shortens a path for people when it is below the working directory.
func (st *stack) rel(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if r, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(r) {
		return r
	}
	return path
}
