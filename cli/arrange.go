package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completion is the flag by which a shell asks for what could come next.
const completion = "--generate-bash-completion"

// arrange puts flags where the parser wants them, so that people may write them anywhere: flags of
// the program in front of the command, flags of the command in front of its arguments. Whatever it
// does not know stays with the command, whose parser names it.
func arrange(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	if last := len(args) - 1; args[last] == completion {
		return append(arrange(app, args[:last]), completion) // the parser looks for it there
	}
	var global, local, positional []string
	var command *cli.Command
	rest := args[1:]
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		switch {
		case arg == "--":
			positional = append(positional, rest[i:]...)
			i = len(rest)
		case len(arg) > 1 && strings.HasPrefix(arg, "-"):
			words := flagWords(app, command, rest[i:])
			i += len(words) - 1
			if command == nil || isGlobal(app, command, arg) {
				global = append(global, words...)
			} else {
				local = append(local, words...)
			}
		case command == nil && app.Command(arg) != nil:
			command = app.Command(arg)
		default:
			positional = append(positional, arg)
		}
	}
	out := append([]string{args[0]}, global...)
	if command != nil {
		out = append(out, command.Name)
	}
	return slices.Concat(out, local, positional)
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
	f := findFlag(app.Flags, name)
	if command != nil {
		if own := findFlag(command.Flags, name); own != nil {
			f = own
		}
	}
	v, ok := f.(cli.DocGenerationFlag)
	return ok && v.TakesValue()
}

func isGlobal(app *cli.App, command *cli.Command, arg string) bool {
	name := flagName(arg)
	return findFlag(app.Flags, name) != nil && findFlag(command.Flags, name) == nil
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
