package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"

	"harmony.dev/fleet/service"
)

// usageError is a wrong command line: exit code 2.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// errQuiet ends with exit code 1 after all has been said.
var errQuiet = errors.New("not all is well")

// program is what the commands share.
type program struct {
	getenv func(string) string
	out    io.Writer // data
	err    io.Writer // everything else
	person person
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	p := &program{getenv: getenv, out: stdout, err: stderr, person: personAt(os.Stdin)}
	return p.run(ctx, args)
}

func (p *program) run(ctx context.Context, args []string) int {
	stderr := p.err
	app := p.app()
	err := app.RunContext(ctx, arrange(app, args))
	var usage usageError
	var noTopic cli.ExitCoder // help was asked for a command that is not there
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errQuiet):
		return 1
	case errors.Is(err, errWouldChange):
		return 3
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "fleet: %v\n", err)
		return 2
	case errors.As(err, &noTopic):
		fmt.Fprintf(stderr, "fleet: %v: 'fleet --help' lists the commands\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "fleet: %v\n", err)
		return 1
	}
}

func (p *program) app() *cli.App {
	return &cli.App{
		Name:                 "fleet",
		Usage:                "see and run a fleet of edge devices",
		Writer:               p.out,
		ErrWriter:            p.err,
		Version:              service.BuildVersion(),
		EnableBashCompletion: true,
		Flags:                p.connectionFlags(),
		Commands: []*cli.Command{
			p.getCommand(), p.describeCommand(), p.explainCommand(), p.planCommand(), p.statusCommand(), p.doctorCommand(),
			p.backupCommand(), p.restoreCommand(),
			p.crdsCommand(), p.uninstallCommand(), p.dashboardCommand(), p.devCommand(), p.versionCommand(),
		},
		Action:         unknownCommand,
		OnUsageError:   wrongFlag,
		ExitErrHandler: func(*cli.Context, error) {}, // run decides
	}
}

func (p *program) connectionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "nats-url", Usage: "the NATS server(s) of the operator; default: the development stack beside, then nats://127.0.0.1:4222 [$FLEET_NATS_URL]"},
		&cli.StringFlag{Name: "nats-context", Aliases: []string{"context"}, Usage: "a context of the nats command [$FLEET_NATS_CONTEXT]"},
		&cli.StringFlag{Name: "nats-creds", Usage: "a NATS credentials file [$FLEET_NATS_CREDS]"},
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "how long to wait for an answer"},
	}
}

func unknownCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	name := c.Args().First()
	if near := nearest(name, commandNames(c.App.Commands)); near != "" {
		return usagef("unknown command %q: did you mean %q? 'fleet --help' lists the commands", name, near)
	}
	return usagef("unknown command %q: 'fleet --help' lists the commands", name)
}

func wrongFlag(_ *cli.Context, err error, _ bool) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		if len(name) > 1 {
			name = "-" + name
		}
		return usagef("unknown flag -%s: '--help' lists the flags", name)
	}
	return usagef("%v: '--help' lists the flags", err)
}

func commandNames(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	return names
}

// nearest returns the name that a typed one begins, or from which it is at most two letters away, or "".
func nearest(typed string, names []string) string {
	if len(typed) < 2 {
		return ""
	}
	for _, n := range names {
		if strings.HasPrefix(n, typed) || len(typed) > 3 && smetrics.WagnerFischer(typed, n, 1, 1, 1) <= 2 {
			return n
		}
	}
	return ""
}
