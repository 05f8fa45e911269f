package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// completing is how long a person waits for names.
const completing = time.Second

// files says to the shell that it completes names of files.
const files = ":files"

// completeCommand is what the scripts of completions ask: the words behind "fleet", the last of them unfinished. The
// library's own completion knows neither values of flags nor names.
func (p *program) completeCommand() *cli.Command {
	return &cli.Command{
		Name: "__complete", Hidden: true, HideHelp: true, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			for _, candidate := range p.candidates(c.Context, c.App, c.Args().Slice()) {
				fmt.Fprintln(p.out, candidate)
			}
			return nil
		},
	}
}

// candidates are what could stand in the place of the last word, those that begin as it does.
func (p *program) candidates(ctx context.Context, app *cli.App, words []string) []string {
	if len(words) == 0 {
		return nil
	}
	q := ask(app, words)
	ctx, cancel := context.WithTimeout(ctx, completing)
	defer cancel()
	var out []string
	for _, candidate := range q.source(ctx, p, q) {
		switch {
		case candidate == files:
			return []string{files}
		case strings.HasPrefix(candidate, q.partial):
			out = append(out, q.before+candidate)
		}
	}
	return out
}

// query is what a shell wants to know.
type query struct {
	line            // what is there already
	partial  string // the word, or the value of a flag, that is unfinished
	before   string // "--output=", which stays in front of it
	source   source
	commands []*cli.Command
}

// source returns what there is to choose from, however it begins.
type source func(ctx context.Context, p *program, q query) []string

// ask finds out what the last word is.
func ask(app *cli.App, words []string) query {
	last := len(words) - 1
	q := query{line: split(app, append([]string{"fleet"}, words[:last]...)), partial: words[last]}
	q.commands = q.line.commands(app)
	command := q.command()
	name, value, assigned := strings.Cut(q.partial, "=")
	switch {
	case last > 0 && isFlag(words[last-1]) && !strings.Contains(words[last-1], "=") && takesValue(app, command, flagName(words[last-1])):
		q.source = valuesOf(flagOf(app, command, flagName(words[last-1])))
	case isFlag(name) && assigned:
		q.before, q.partial = name+"=", value
		q.source = valuesOf(flagOf(app, command, flagName(name)))
	case strings.HasPrefix(q.partial, "-"):
		q.source = among(flagNames(app, command)...)
	case len(q.positional) == 0 && len(q.commands) > 0:
		q.source = among(commandNames(q.commands)...)
	default:
		q.source = arguments(q.line)
	}
	return q
}

func isFlag(word string) bool { return len(word) > 1 && strings.HasPrefix(word, "-") }

func among(words ...string) source {
	return func(context.Context, *program, query) []string { return words }
}

// flagNames are those of the command, and of the program in any place.
func flagNames(app *cli.App, command *cli.Command) []string {
	flags := app.VisibleFlags()
	if command != nil {
		flags = append(slices.Clone(command.VisibleFlags()), flags...)
	}
	var names []string
	for _, f := range append(flags, cli.HelpFlag) {
		if name := "--" + f.Names()[0]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// valuesOf says what the value of a flag may be.
func valuesOf(f cli.Flag) source {
	switch f := f.(type) {
	case choiceFlag:
		return among(f.of...)
	case *cli.StringFlag:
		if f.TakesFile {
			return among(files)
		}
	}
	if f == nil {
		return among()
	}
	switch f.Names()[0] {
	case "state":
		return among(string(fleet.DeviceFresh), string(fleet.DeviceStale), string(fleet.DeviceNeverSeen))
	case "class":
		return among(string(fleet.ClassRunning), string(fleet.ClassFailed), string(fleet.ClassPending), string(fleet.ClassStale))
	case "deployment":
		return deploymentNames
	case "nats-context":
		return contextNames
	case "filename", "token-file", "address-file":
		return among(files)
	case "bucket":
		return among(kept...)
	case "log-format":
		return among("text", "json")
	case "log-level":
		return among("debug", "info", "warn", "error")
	}
	return among()
}

// arguments says what the next argument of a command may be.
func arguments(l line) source {
	var path []string
	for _, c := range l.path {
		path = append(path, c.Name)
	}
	first := len(l.positional) == 0
	switch strings.Join(path, " ") {
	case "get", "describe", "explain":
		return kindsThenNames(l)
	case "plan":
		if first {
			return deploymentNames
		}
	case "watch":
		return kindsThenNames(l, watchedStatus)
	case "devices forget":
		return deviceNames
	case "hold show", "hold approve":
		if first {
			return holdIDs
		}
	case "completion":
		if first {
			return among(shells...)
		}
	case "backup", "restore":
		if first {
			return among(files)
		}
	}
	return among()
}

func kindsThenNames(l line, more ...string) source {
	switch len(l.positional) {
	case 0:
		return among(append([]string{"deployments", "devices"}, more...)...)
	case 1:
		kind, _, err := kindAndName("", l.positional)
		switch {
		case err != nil:
		case kind == fleet.ResourceDevices:
			return deviceNames
		default:
			return deploymentNames
		}
	}
	return among()
}

// asking connects as the command line that is being typed would. It returns nothing when that does not work: a person who
// types wants no message.
func (p *program) asking(q query, f func(*nats.Conn) []string) []string {
	at, err := p.find(named{
		context: given(q.global, "nats-context", "context"), url: given(q.global, "nats-url"), creds: given(q.global, "nats-creds"),
	})
	if err != nil {
		return nil
	}
	nc, err := at.dial(nats.Timeout(completing / 2))
	if err != nil {
		return nil
	}
	defer nc.Close()
	return f(nc)
}

// given returns the value of a flag among words.
func given(words []string, names ...string) string {
	for i, w := range words {
		name, value, assigned := strings.Cut(strings.TrimLeft(w, "-"), "=")
		switch {
		case !isFlag(w) || !slices.Contains(names, name):
		case assigned:
			return value
		case i+1 < len(words):
			return words[i+1]
		}
	}
	return ""
}

// justBefore returns a text that is less than all that begin with prefix, and not less than what is less than it. Names have
// no '~', which is greater than all that they have.
func justBefore(prefix string) string {
	if prefix == "" {
		return ""
	}
	last := len(prefix) - 1
	return prefix[:last] + string(prefix[last]-1) + "~"
}

func deviceNames(ctx context.Context, p *program, q query) []string {
	return p.asking(q, func(nc *nats.Conn) []string {
		req := fleet.DevicesListRequest{Page: fleet.Page{Limit: fleet.MaxLimit, After: justBefore(q.partial)}}
		got, _ := rpc.Call[fleet.DevicesListRequest, fleet.DevicesListResponse](ctx, nc, fleet.DevicesList, req)
		var names []string
		for _, d := range got.Items {
			if name := string(d.Name); !slices.Contains(q.positional, name) {
				names = append(names, name)
			}
		}
		return names
	})
}

func deploymentNames(ctx context.Context, p *program, q query) []string {
	return p.asking(q, func(nc *nats.Conn) []string {
		req := fleet.DeploymentsListRequest{Page: fleet.Page{Limit: fleet.MaxLimit, After: justBefore(q.partial)}}
		got, _ := rpc.Call[fleet.DeploymentsListRequest, fleet.DeploymentsListResponse](ctx, nc, fleet.DeploymentsList, req)
		var names []string
		for _, d := range got.Items {
			names = append(names, string(d.Name))
		}
		return names
	})
}

func holdIDs(ctx context.Context, p *program, q query) []string {
	return p.asking(q, func(nc *nats.Conn) []string {
		plan, err := rpc.Call[fleet.PlanShowRequest, fleet.PlanShowResponse](ctx, nc, fleet.PlanShow, fleet.PlanShowRequest{})
		if err != nil || plan.Hold == nil {
			return nil
		}
		return []string{printable(plan.Hold.ID)}
	})
}

// contextNames are those of the nats command.
func contextNames(_ context.Context, p *program, _ query) []string {
	entries, _ := os.ReadDir(filepath.Join(p.configDir(), "nats", "context")) // without it there are none
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	return names
}
