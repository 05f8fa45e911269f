package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

func (p *program) describeCommand() *cli.Command {
	return &cli.Command{
		Name:      "describe",
		Usage:     "show everything known of one deployment or one device",
		ArgsUsage: "deployment|device NAME",
		Description: `A deployment: what it selects and is, counts, conditions, the last error, the pairs that need a look, and what changed last.
A device: labels, inventory, agent, when it was last heard of and how, and what is desired on it against what it reported.
-o wide cuts nothing. -o json and -o yaml give the answer of the operator as it is: asOf, synced and reason say how far to
trust it.

The exit code is 0 when there is an answer, 1 when there is none or nothing of that name.`,
		Flags:        []cli.Flag{outputFlag()},
		OnUsageError: wrongFlag,
		Action:       p.describe,
	}
}

func (p *program) describe(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	kind, names, err := kindAndNames("describe", c.Args().Slice(), 1)
	if err != nil {
		return err
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	req := fleet.GetRequest{Name: names[0]}
	if kind == fleet.ResourceDevices {
		got, err := rpc.Call[fleet.GetRequest, fleet.DevicesGetResponse](ctx, nc, fleet.DevicesGet, req)
		if err != nil {
			return err
		}
		return p.described(format, got, devicePage(got, format == formatWide))
	}
	got, err := rpc.Call[fleet.GetRequest, fleet.DeploymentsGetResponse](ctx, nc, fleet.DeploymentsGet, req)
	if err != nil {
		return err
	}
	return p.described(format, got, deploymentPage(got, format == formatWide))
}

func (p *program) described(format string, answer any, text *page) error {
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, answer)
	}
	return p.showPage(text)
}
