package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"

	"harmony.dev/fleet/service"
)

// program is what the commands share.
type program struct {
	getenv   func(string) string
	out      io.Writer // data
	err      io.Writer // everything else
	person   person
	coloured bool // data on out, by --color
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	p := &program{getenv: getenv, out: stdout, err: stderr, person: personAt(os.Stdin)}
	return p.run(ctx, args)
}

func (p *program) run(ctx context.Context, args []string) int {
	app := p.app()
	words := split(app, args)
	err := words.checkHelp(app)
	if err == nil {
		err = app.RunContext(ctx, words.arranged())
	}
	return exitCode(err, p.err)
}

func (p *program) app() *cli.App {
	return &cli.App{
		Name:        "fleet",
		Usage:       "see and run a fleet of edge devices",
		Description: exitText,
		Writer:      p.out,
		ErrWriter:   p.err,
		Version:     service.BuildVersion(),
		Flags:       append(p.connectionFlags(), colourFlag()),
		Commands: []*cli.Command{
			p.getCommand(),
			p.watchCommand(),
			p.describeCommand(),
			p.explainCommand(),
			p.planCommand(),
			p.statusCommand(),
			p.doctorCommand(),
			p.holdCommand(),
			p.devicesCommand(),
			p.backupCommand(),
			p.restoreCommand(),
			p.crdsCommand(),
			p.uninstallCommand(),
			p.dashboardCommand(),
			p.devCommand(),
			p.simCommand(),
			p.completionCommand(),
			p.completeCommand(),
			p.versionCommand(),
		},
		Before:                    p.begin,
		Action:                    unknownCommand,
		OnUsageError:              wrongFlag,
		ExitErrHandler:            func(*cli.Context, error) {}, // run decides
		DisableSliceFlagSeparator: true,                         // values of fleet sim have commas
	}
}

// begin is called before every command.
func (p *program) begin(c *cli.Context) error {
	when, err := chosen(c, "color")
	p.coloured = useColours(when, isTerminal(p.out), p.getenv)
	return err
}

func (p *program) connectionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "nats-url", Usage: "the NATS `URL`(s) of the operator; default: " + defaultServers + " [$FLEET_NATS_URL]"},
		&cli.StringFlag{Name: "nats-context", Aliases: []string{"context"}, Usage: "a `CONTEXT` of the nats command, by name or by the path of its file [$FLEET_NATS_CONTEXT]"},
		&cli.StringFlag{Name: "nats-creds", TakesFile: true, Usage: "a NATS credentials `FILE` [$FLEET_NATS_CREDS]"},
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "how long to wait for an answer"},
	}
}

func unknownCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	return unknownWord("fleet", c.Args().First(), c.App.Commands)
}

// group is the action of a command that has commands.
func group(c *cli.Context) error {
	if c.NArg() == 0 {
		return usagef("say what to do: 'fleet %s %s'", c.Command.Name, strings.Join(commandNames(c.Command.Subcommands), "|"))
	}
	return unknownWord("fleet "+c.Command.Name, c.Args().First(), c.Command.Subcommands)
}

// unknownWord is the error for a word where a command has to be.
func unknownWord(of, word string, commands []*cli.Command) error {
	if near := nearest(word, commandNames(commands)); near != "" {
		return usagef("unknown command %q: did you mean %q? '%s --help' lists the commands", word, near, of)
	}
	return usagef("unknown command %q: '%s --help' lists the commands", word, of)
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

// commandNames lists those that people see.
func commandNames(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		if !c.Hidden && c.Name != "help" {
			names = append(names, c.Name)
		}
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
