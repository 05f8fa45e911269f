package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Config says what to run and where. The zero value of a field means its default.
type Config struct {
	Dir     string    // data, logs, kubeconfig, env file; default ".dev"
	BinDir  string    // the service binaries; default: beside the running executable
	CRDDir  string    // the custom resource definitions; default: ../deploy/crds beside BinDir
	Out     io.Writer // progress and summary, for a person
	Devices int       // simulated devices; none when zero

	Kubeconfig string // use this cluster; default: start the embedded Kubernetes API
	NATSURL    string // use this server; default: start one
	Namespace  string // the fleet; default "fleet"

	Ports Ports

	// Dashboard runs until ctx ends, on a port that is free; nil for none.
	Dashboard func(ctx context.Context, stack Stack) error
}

// Stack is how to reach what runs.
type Stack struct {
	NATSURL    string
	Kubeconfig string
	Namespace  string
	Dir        string
	Dashboard  string // the address to serve on
}

// Ports are listened on at 127.0.0.1.
type Ports struct {
	NATS, Kube, Patcher, Reconciler, Aggregator, Dashboard int
}

const defaultNamespace = "fleet"

// DefaultPorts are fixed, so that what is printed once stays true.
func DefaultPorts() Ports {
	return Ports{NATS: 4222, Kube: 16443, Patcher: 18081, Reconciler: 18082, Aggregator: 18083, Dashboard: 8484}
}

func (c Config) withDefaults() (Config, error) {
	if c.Out == nil {
		c.Out = io.Discard
	}
	if c.Namespace == "" {
		c.Namespace = defaultNamespace
	}
	if c.BinDir == "" {
		exe, err := os.Executable()
		if err != nil {
			return c, fmt.Errorf("find the running executable: %w", err)
		}
		c.BinDir = filepath.Dir(exe)
	}
	if c.CRDDir == "" {
		c.CRDDir = filepath.Join(c.BinDir, "..", "deploy", "crds")
	}
	if c.Dir == "" {
		c.Dir = ".dev"
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("resolve %s: %w", c.Dir, err)
	}
	c.Dir = dir
	if c.Kubeconfig != "" {
		if c.Kubeconfig, err = filepath.Abs(c.Kubeconfig); err != nil {
			return c, fmt.Errorf("resolve %s: %w", c.Kubeconfig, err)
		}
	}
	return c, nil
}

// binaries lists the programs that this configuration starts as children.
func (c Config) binaries() []string {
	names := []string{"fleet-patcher", "fleet-reconciler", "fleet-aggregator"}
	if c.Devices > 0 {
		names = append(names, "fleet-sim")
	}
	if c.Kubeconfig == "" {
		names = append(names, "kubeapi")
	}
	return names
}

// check finds what would only fail later, and all of it at once.
func (c Config) check(ctx context.Context) error {
	var errs []error
	for _, name := range c.binaries() {
		if _, err := os.Stat(filepath.Join(c.BinDir, name)); err != nil {
			errs = append(errs, fmt.Errorf("%s is not in %s: run 'make build' first", name, c.BinDir))
		}
	}
	if files, _ := filepath.Glob(filepath.Join(c.CRDDir, "*.yaml")); len(files) == 0 {
		errs = append(errs, fmt.Errorf("no custom resource definitions in %s: say where they are with --crds", c.CRDDir))
	}
	ctx, cancel := context.WithTimeout(ctx, leaving)
	defer cancel()
	for _, p := range c.portsUsed() {
		if err := portFree(ctx, p.port); err != nil {
			errs = append(errs, fmt.Errorf("port %d for %s is in use: stop what listens there (another 'fleet dev'?) or choose another with --%s", p.port, p.what, p.flag))
		}
	}
	return errors.Join(errs...)
}

type portUse struct {
	what, flag string
	port       int
}

func (c Config) portsUsed() []portUse {
	used := []portUse{
		{"the patcher's HTTP", "patcher-port", c.Ports.Patcher},
		{"the reconciler's HTTP", "reconciler-port", c.Ports.Reconciler},
		{"the aggregator's HTTP", "aggregator-port", c.Ports.Aggregator},
	}
	if c.Dashboard != nil {
		used = append(used, portUse{"the dashboard", "dashboard-port", c.Ports.Dashboard})
	}
	if c.NATSURL == "" {
		used = append(used, portUse{"NATS", "nats-port", c.Ports.NATS})
	}
	if c.Kubeconfig == "" {
		used = append(used, portUse{"the Kubernetes API", "kube-port", c.Ports.Kube})
	}
	return used
}

// leaving is how long the children of a stack that was killed may take to end.
const leaving = 5 * time.Second

// portFree waits for a port that is in use until ctx ends: children of a stack that was just killed go
// soon.
func portFree(ctx context.Context, port int) error {
	if port == 0 {
		return nil
	}
	var config net.ListenConfig
	for {
		l, err := config.Listen(context.WithoutCancel(ctx), "tcp", loopback(port))
		if err == nil {
			return l.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
