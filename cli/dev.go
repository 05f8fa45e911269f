package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"harmony.dev/devstack"
)

func (p *program) devCommand() *cli.Command {
	ports := devstack.DefaultPorts()
	return &cli.Command{
		Name:         "dev",
		Usage:        "run everything on this machine: NATS, a Kubernetes API, the services, simulated devices",
		Description:  "Data is kept in .dev over restarts. Ctrl-C stops everything.",
		OnUsageError: wrongFlag,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "devices", Value: 24, Usage: "how many devices to simulate"},
			&cli.StringFlag{Name: "kubeconfig", TakesFile: true, Usage: "use the cluster of this file instead of starting a Kubernetes API"},
			&cli.StringFlag{Name: "nats-url", Usage: "use this NATS server instead of starting one"},
			&cli.StringFlag{Name: "fleet", Value: "fleet", Usage: "the fleet: a Kubernetes namespace"},
			&cli.StringFlag{Name: "dir", TakesFile: true, Value: ".dev", Usage: "where data, logs and kubeconfig go"},
			&cli.StringFlag{Name: "bin", TakesFile: true, Usage: "where the service binaries are; default: beside this one"},
			&cli.StringFlag{Name: "crds", TakesFile: true, Usage: "where the custom resource definitions are; default: ../deploy/crds beside the binaries"},
			&cli.IntFlag{Name: "nats-port", Value: ports.NATS, Usage: "port of NATS on 127.0.0.1"},
			&cli.IntFlag{Name: "kube-port", Value: ports.Kube, Usage: "port of the Kubernetes API on 127.0.0.1"},
			&cli.IntFlag{Name: "patcher-port", Value: ports.Patcher, Usage: "HTTP port of the patcher on 127.0.0.1"},
			&cli.IntFlag{Name: "reconciler-port", Value: ports.Reconciler, Usage: "HTTP port of the reconciler on 127.0.0.1"},
			&cli.IntFlag{Name: "dashboard-port", Value: ports.Dashboard, Usage: "port of the dashboard on 127.0.0.1"},
			&cli.IntFlag{Name: "aggregator-port", Value: ports.Aggregator, Usage: "HTTP port of the aggregator on 127.0.0.1"},
		},
		Action: p.dev,
	}
}

func (p *program) dev(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("'fleet dev' takes no argument, got %q", c.Args().First())
	}
	for _, global := range []string{"nats-url", "nats-context", "nats-creds"} {
		if parent := c.Lineage()[1]; parent.IsSet(global) {
			return usagef("--%s in front of 'dev' is not for it: 'fleet dev --nats-url URL' uses a server of your own", global)
		}
	}
	if n := c.Int("devices"); n < 0 || n > 100_000 {
		return usagef("--devices %d: choose 0 to 100000", n)
	}
	return devstack.Run(c.Context, devstack.Config{
		Dir: c.String("dir"), BinDir: c.String("bin"), CRDDir: c.String("crds"), Out: p.err,
		Devices: c.Int("devices"), Kubeconfig: c.String("kubeconfig"), NATSURL: c.String("nats-url"), Namespace: c.String("fleet"),
		Dashboard: func(ctx context.Context, st devstack.Stack) error { return p.devDashboard(ctx, st) },
		Ports: devstack.Ports{
			NATS: c.Int("nats-port"), Kube: c.Int("kube-port"),
			Patcher: c.Int("patcher-port"), Reconciler: c.Int("reconciler-port"), Aggregator: c.Int("aggregator-port"), Dashboard: c.Int("dashboard-port"),
		},
	})
}
