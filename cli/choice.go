package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// choiceFlag is a flag with few values, which its help and a shell's completion name.
type choiceFlag struct {
	*cli.StringFlag
	of []string
}

// choose returns a flag of which the first value is the default. About stands in front of the values in the help.
func choose(name, alias, about string, of ...string) choiceFlag {
	f := &cli.StringFlag{Name: name, Value: of[0], Usage: strings.TrimSpace(about + " " + enumerated(of))}
	if alias != "" {
		f.Aliases = []string{alias}
	}
	return choiceFlag{f, of}
}

// chosen returns the value of a choiceFlag of the command that runs, or of the program.
func chosen(c *cli.Context, name string) (string, error) {
	flags := c.App.Flags
	if findFlag(c.Command.Flags, name) != nil {
		flags = c.Command.Flags
	}
	f, ok := findFlag(flags, name).(choiceFlag)
	if !ok {
		return "", fmt.Errorf("--%s is no choice", name) // a bug
	}
	switch v := c.String(name); {
	case v == "":
		return "", usagef("--%s needs a value: one of %s", name, strings.Join(f.of, ", "))
	case !slices.Contains(f.of, v):
		return "", usagef("unknown %s %q: choose one of %s", name, v, strings.Join(f.of, ", "))
	default:
		return v, nil
	}
}

// enumerated writes "a, b or c".
func enumerated(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
