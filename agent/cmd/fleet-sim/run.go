package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/agent/sim"
	"harmony.dev/agent/sim/command"
	"harmony.dev/fleet/service"
)

// Exit codes, as services have them.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// failure is an error that is no misuse of the command line.
type failure struct{ error }

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	all := append(service.ClientFlags(), command.Flags("dev-")...)
	app := &cli.App{
		Name:                      "fleet-sim",
		Usage:                     "simulates devices of a fleet",
		Description:               "Each flag can be set in the environment: --nats-url is FLEET_NATS_URL.",
		Version:                   service.BuildVersion(),
		Flags:                     all,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // the default one exits
		OnUsageError:              func(_ *cli.Context, err error, _ bool) error { return err },
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("unexpected argument %q", c.Args().First())
			}
			if err := service.ApplyEnv(c, all, getenv); err != nil {
				return err
			}
			return simulate(ctx, c, stdin, stdout, stderr)
		},
	}
	err := app.RunContext(ctx, args)
	var failed failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &failed):
		_, _ = fmt.Fprintf(stderr, "fleet-sim: %s\n", service.Redact(err.Error()))
		return exitFailed
	}
	_, _ = fmt.Fprintf(stderr, "fleet-sim: %s\nSee fleet-sim --help.\n", service.Redact(err.Error()))
	return exitUsage
}

// simulate runs the devices until a signal, the end of the parent, or a failure.
func simulate(ctx context.Context, c *cli.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	cfg, err := command.Configure(c)
	if err != nil {
		return err
	}
	if cfg.Log, err = service.NewLogger(stderr, c.String("log-format"), c.String("log-level")); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if c.Bool("exit-with-parent") {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, stdin) // any end is the end
			cancel()
		}()
	}
	dial := func(ctx context.Context, name string) (*nats.Conn, func(context.Context) error, error) {
		return service.Connect(ctx, c, name, cfg.Log)
	}
	err = command.Run(ctx, cfg, c.Int("connections"), dial, func(cfg sim.Config) {
		_, _ = fmt.Fprintf(stdout, "simulating %s\n", command.Says(cfg))
	})
	if _, ok := errors.AsType[command.DialError](err); err == nil || ok {
		return err // one of those is a misuse of the command line
	}
	return failure{err}
}
