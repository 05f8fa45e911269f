package main

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/agent/sim"
	"harmony.dev/agent/sim/command"
	"harmony.dev/fleet/service"
)

func (p *program) simCommand() *cli.Command {
	return &cli.Command{
		Name:  "sim",
		Usage: "simulate devices for an operator that runs, until Ctrl-C",
		Description: `The devices register, take what the operator wants of them, and pretend to run it. They are switched off with the command, and stay
known as stale ones: 'fleet devices forget' takes them out. Those of 'fleet dev' are called dev-…, these sim-…, so that both can run.

  fleet sim --devices 100 --label-cycle region=north,east,south,west --fail-rate 0.05`,
		Flags: append(command.Flags("sim-"),
			&cli.StringFlag{Name: "log-format", Value: "text", Usage: "text or json"},
			&cli.StringFlag{Name: "log-level", Value: "warn", Usage: "debug, info, warn or error"},
		),
		OnUsageError: wrongFlag,
		Action:       p.simulate,
	}
}

func (p *program) simulate(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("'fleet sim' takes no argument, got %q", c.Args().First())
	}
	cfg, err := command.Configure(c)
	if err != nil {
		return usagef("%v", err)
	}
	if cfg.Log, err = service.NewLogger(p.err, c.String("log-format"), c.String("log-level")); err != nil {
		return usagef("%v", err)
	}
	at, err := p.server(c)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, name string) (*nats.Conn, func(context.Context) error, error) {
		return service.ConnectTo(ctx, service.Server{URL: at.url, Context: at.context, Creds: at.creds}, name, cfg.Log)
	}
	return command.Run(c.Context, cfg, c.Int("connections"), dial, func(cfg sim.Config) {
		fmt.Fprintf(p.err, "simulating %s on %s; Ctrl-C ends them\n", command.Says(cfg), at)
	})
}
