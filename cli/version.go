package main

import (
	"fmt"
	"runtime"

	"github.com/urfave/cli/v2"

	"harmony.dev/fleet/service"
)

func (p *program) versionCommand() *cli.Command {
	return &cli.Command{
		Name:         "version",
		Usage:        "show the version",
		Flags:        []cli.Flag{outputFlag()},
		OnUsageError: wrongFlag,
		Action: func(c *cli.Context) error {
			format, err := outputFormat(c)
			if err != nil {
				return err
			}
			if c.NArg() > 0 {
				return usagef("'fleet version' takes no argument, got %q", c.Args().First())
			}
			if format == formatJSON || format == formatYAML {
				return encode(p.out, format, map[string]string{"version": service.BuildVersion(), "go": runtime.Version()})
			}
			_, err = fmt.Fprintf(p.out, "fleet %s (%s)\n", service.BuildVersion(), runtime.Version())
			return err
		},
	}
}
