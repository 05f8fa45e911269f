package devstack

import (
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"

	"harmony.dev/fleet"
	"harmony.dev/fleet/service"
)

// leaseTTL is shorter than in production: after a SIGKILL of everything the next run acts that soon.
const leaseTTL = 3 * time.Second

// stack is a running development stack.
type stack struct {
	cfg        Config
	start      time.Time
	natsURL    string
	kubeconfig string

	mu sync.Mutex // one line of output at a time
}

// Run starts everything, says how to reach it, and keeps it running until ctx ends. Then it stops
// everything, in the order in which nothing is missed: devices, services, Kubernetes API, NATS.
func Run(ctx context.Context, cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	release, err := lockDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer release()
	if err := cfg.check(ctx); err != nil {
		return err
	}
	st := &stack{cfg: cfg, start: time.Now(), natsURL: cfg.NATSURL, kubeconfig: cfg.Kubeconfig}
	return st.run(ctx)
}

func (st *stack) run(ctx context.Context) error {
	nats, err := st.startNATS()
	if err != nil {
		return err
	}
	if nats != nil {
		defer func() { nats.Shutdown(); nats.WaitForShutdown() }()
	}
	stopKube, err := st.runKube(ctx)
	if err != nil {
		return stopped(ctx, err)
	}
	defer stopKube()
	if st.cfg.Kubeconfig != "" {
		st.say("applying namespace %s and the custom resource definitions of %s to it", st.cfg.Namespace, st.rel(st.cfg.CRDDir))
	}
	if err := prepareCluster(ctx, st.kubeconfig, st.cfg.Namespace, st.cfg.CRDDir); err != nil {
		return stopped(ctx, err)
	}
	st.say("custom resources are served in namespace %s", st.cfg.Namespace)
	if err := writeEnv(st.cfg.Dir, st.env()); err != nil {
		return err
	}
	return st.runServices(ctx)
}

// runServices runs the services and the devices. The devices are stopped first.
func (st *stack) runServices(ctx context.Context) error {
	services, ctx := errgroup.WithContext(ctx)
	lifetime, stopServices := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServices()
	for _, p := range st.services() {
		services.Go(func() error { return supervise(lifetime, st, p) })
	}
	services.Go(func() error {
		defer stopServices()
		err := st.runDevices(ctx)
		if err == nil {
			st.say("stopping")
		}
		return err
	})
	return services.Wait()
}

func (st *stack) runDevices(ctx context.Context) error {
	devices, ctx := errgroup.WithContext(ctx)
	devices.Go(func() error {
		if err := st.announce(ctx); err != nil {
			return stopped(ctx, err)
		}
		<-ctx.Done()
		return nil
	})
	if st.cfg.Dashboard != nil {
		devices.Go(func() error {
			return st.cfg.Dashboard(ctx, Stack{
				NATSURL: st.natsURL, Kubeconfig: st.kubeconfig, Namespace: st.cfg.Namespace, Dir: st.cfg.Dir, Dashboard: loopback(st.cfg.Ports.Dashboard),
			})
		})
	}
	if st.cfg.Devices > 0 {
		devices.Go(func() error { return supervise(ctx, st, st.simulator()) })
	}
	return devices.Wait()
}

func (st *stack) startNATS() (*server.Server, error) {
	if st.natsURL != "" {
		if err := reachNATS(st.natsURL); err != nil {
			return nil, err
		}
		st.say("using NATS at %s", service.Redact(st.natsURL))
		return nil, nil
	}
	s, err := startNATS(st.cfg.Dir, st.cfg.Ports.NATS)
	if err != nil {
		return nil, err
	}
	st.natsURL = s.ClientURL()
	st.say("NATS with JetStream serves at %s", st.natsURL)
	return s, nil
}

func (st *stack) services() []program {
	common := []string{"--fleet", st.cfg.Namespace, "--exit-with-parent", "--lease-ttl", leaseTTL.String()}
	replica := func(name string, port int, more ...string) program {
		args := append([]string{"--http-listen", loopback(port)}, common...)
		return program{name: name, args: append(args, more...), env: st.natsEnv()}
	}
	return []program{
		replica(fleet.ServicePatcher, st.cfg.Ports.Patcher, "--kubeconfig", st.kubeconfig),
		replica(fleet.ServiceReconciler, st.cfg.Ports.Reconciler),
		replica(fleet.ServiceAggregator, st.cfg.Ports.Aggregator),
	}
}

func (st *stack) simulator() program {
	return program{name: "fleet-sim", env: st.natsEnv(), args: []string{
		"--devices", strconv.Itoa(st.cfg.Devices), "--prefix", "dev-",
		"--label-cycle", "region=north,east,south,west", "--label-cycle", "arch=arm64,amd64",
		"--data-dir", filepath.Join(st.cfg.Dir, "devices"), "--exit-with-parent",
	}}
}

// natsEnv tells a child where NATS is: not by an argument, which everybody on the machine could read, and
// there may be a password in it.
func (st *stack) natsEnv() []string { return []string{service.EnvName("nats-url") + "=" + st.natsURL} }

func (st *stack) env() map[string]string {
	return map[string]string{
		"NATS_URL":       st.natsURL,
		"FLEET_NATS_URL": st.natsURL,
		"FLEET_FLEET":    st.cfg.Namespace,
		"KUBECONFIG":     st.kubeconfig,
	}
}

// stopped turns an error that comes from being told to stop into none.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}
