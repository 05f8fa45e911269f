package main

import (
	_ "embed"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// The scripts ask 'fleet __complete' what could come next.
var (
	//go:embed completion/fleet.bash
	bashScript string
	//go:embed completion/fleet.zsh
	zshScript string
	//go:embed completion/fleet.fish
	fishScript string // the library's own would leave no room for values of flags
)

const completionText = `Prints a script for the shell. For the shell that runs now:

  bash   source <(fleet completion bash)
  zsh    source <(fleet completion zsh)          after compinit
  fish   fleet completion fish | source

For every shell to come, put that line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish. Names of deployments, devices and
holds are asked of the operator that the command line leads to; when it does not answer within a second there are none.`

var shells = []string{"bash", "zsh", "fish"}

func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name:         "completion",
		Usage:        "print a script that has a shell complete commands, flags, and names",
		ArgsUsage:    strings.Join(shells, "|"),
		Description:  completionText,
		OnUsageError: wrongFlag,
		Action:       p.completion,
	}
}

func (p *program) completion(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("say for which shell: 'fleet completion %s'", strings.Join(shells, "|"))
	}
	script := ""
	switch shell := c.Args().First(); shell {
	case "bash":
		script = bashScript
	case "zsh":
		script = zshScript
	case "fish":
		script = fishScript
	default:
		return usagef("unknown shell %q: there are %s", shell, enumerated(shells))
	}
	_, err := io.WriteString(p.out, script)
	return err
}
