package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line taken apart, so that people may write flags anywhere.
type line struct {
	name       string
	path       []*cli.Command // the command, and the command of it
	global     []string       // flags of the program
	local      []string       // flags of the command, and those that nobody knows
	positional []string
}

// split takes a command line apart. Whatever it does not know stays with the command, whose parser names it.
func split(app *cli.App, args []string) line {
	if len(args) == 0 {
		return line{}
	}
	l := line{name: args[0]}
	rest := args[1:]
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		switch {
		case arg == "--", l.verbatim():
			l.positional = append(l.positional, rest[i:]...)
			i = len(rest)
		case len(arg) > 1 && strings.HasPrefix(arg, "-"):
			arg = attached(app, l.command(), arg)
			words := flagWords(app, l.command(), append([]string{arg}, rest[i+1:]...))
			i += len(words) - 1
			if isGlobal(app, l.command(), arg) {
				l.global = append(l.global, words...)
			} else {
				l.local = append(l.local, words...)
			}
		case l.next(app, arg) != nil:
			l.path = append(l.path, l.next(app, arg))
		default:
			l.positional = append(l.positional, arg)
		}
	}
	return l
}

// arranged returns the words where the parser wants them: flags of the program in front of the command, flags of the
// command in front of its arguments.
func (l line) arranged() []string {
	if l.name == "" {
		return nil
	}
	out := append([]string{l.name}, l.global...)
	for _, c := range l.path {
		out = append(out, c.Name)
	}
	return slices.Concat(out, l.local, l.positional)
}

// command is the innermost one, nil when there is none yet.
func (l line) command() *cli.Command {
	if len(l.path) == 0 {
		return nil
	}
	return l.path[len(l.path)-1]
}

// verbatim reports whether the command takes all words as they are.
func (l line) verbatim() bool { return l.command() != nil && l.command().SkipFlagParsing }

// next returns the command that a word names at this place. Behind an argument there is none.
func (l line) next(app *cli.App, word string) *cli.Command {
	if len(l.positional) > 0 {
		return nil
	}
	for _, c := range l.commands(app) {
		if c.HasName(word) {
			return c
		}
	}
	return nil
}

// commands are those that may come next.
func (l line) commands(app *cli.App) []*cli.Command {
	if len(l.path) == 0 {
		return app.Commands
	}
	return l.command().Subcommands
}

// checkHelp returns an error when help is asked for a command that is not there: the parser would show that of the one
// above it.
func (l line) checkHelp(app *cli.App) error {
	asked := func(w string) bool { return w == "-h" || w == "--help" || w == "-help" }
	if len(l.positional) == 0 || l.positional[0] == "help" || l.positional[0] == "h" || !slices.ContainsFunc(slices.Concat(l.global, l.local), asked) {
		return nil
	}
	of := "fleet"
	for _, c := range l.path {
		of += " " + c.Name
	}
	if commands := l.commands(app); len(commands) > 0 {
		return unknownWord(of, l.positional[0], commands)
	}
	return nil
}

// flagWords returns the flag at the head of args, with its value when that is a word of its own.
func flagWords(app *cli.App, command *cli.Command, args []string) []string {
	switch {
	case strings.Contains(args[0], "="), !takesValue(app, command, flagName(args[0])):
		return args[:1]
	case len(args) == 1:
		return []string{args[0] + "="} // it lacks its value: no other word may become it
	}
	return args[:2]
}

func takesValue(app *cli.App, command *cli.Command, name string) bool {
	v, ok := flagOf(app, command, name).(cli.DocGenerationFlag)
	return ok && v.TakesValue()
}

// attached spells "-ojson" as "-o=json", where there is no flag of the whole name and -o takes a value.
func attached(app *cli.App, command *cli.Command, arg string) string {
	if strings.HasPrefix(arg, "--") || len(arg) < 3 || arg[2] == '=' || flagOf(app, command, flagName(arg)) != nil || !takesValue(app, command, arg[1:2]) {
		return arg
	}
	return arg[:2] + "=" + arg[2:]
}

// flagOf returns the flag of a name where a command is, nil when there is none. A flag may stand in front of its command.
func flagOf(app *cli.App, command *cli.Command, name string) cli.Flag {
	behind := app.Commands
	if command == nil {
		if f := findFlag(app.Flags, name); f != nil {
			return f
		}
	} else {
		behind = append([]*cli.Command{command}, command.Subcommands...)
	}
	for _, c := range behind {
		if own := findFlag(c.Flags, name); own != nil {
			return own
		}
	}
	return findFlag(app.Flags, name)
}

func isGlobal(app *cli.App, command *cli.Command, arg string) bool {
	name := flagName(arg)
	return findFlag(app.Flags, name) != nil && (command == nil || findFlag(command.Flags, name) == nil)
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func flagName(arg string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return name
}
