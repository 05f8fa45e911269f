package main

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

const explainText = `Says why a device runs or does not run a Deployment: one verdict, what led to it, and what to do next.

  fleet explain device pi-07           each Deployment on the device: those that select it and those that do not
  fleet explain deployment web         the devices by verdict and reason, the gravest first, with examples
  fleet explain pi-07/web              one Deployment on one device, with all that is known of it; the same as
                                       'fleet explain device pi-07 web' and 'fleet explain deployment web pi-07'

The verdicts, the first that holds:
  NoDeployment, DeploymentDeleting                           there is no such wish
  NotRegistered, DeviceDeleting, Quarantined                 the device is out of scope
  Held, Removing                                             it is there, and nothing wishes it any more
  Running, Failed, Stale                                     it is desired, and this is what was reported
  NoReport, PoisonReport, HashDiffers, Unconfirmed, Pending  it is desired, and not known to run
  DeviceInvalid, Invalid, NoMatch                            it is not desired, and will not be
  Held, Applying                                             it is not desired yet

A name that nobody knows is a verdict, too (NotRegistered, NoDeployment), except that a Deployment which is not there
cannot be explained alone. The exit code is 0 when there is an answer, whatever the verdict.
-o json and -o yaml give the answer of the operator as it is: asOf, synced and reason say how far to trust it.`

func (p *program) explainCommand() *cli.Command {
	return &cli.Command{
		Name:         "explain",
		Usage:        "say why a device runs or does not run a deployment, and what to do next",
		ArgsUsage:    "device NAME [DEPLOYMENT] | deployment NAME [DEVICE] | DEVICE/DEPLOYMENT",
		Description:  explainText,
		Flags:        []cli.Flag{outputFlag()},
		OnUsageError: wrongFlag,
		Action:       p.explain,
	}
}

// topic is what is to be explained: a device, a deployment, or one on the other.
type topic struct {
	device     fleet.DeviceID
	deployment fleet.DeploymentName
}

func (p *program) explain(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	about, err := explainArguments(c.Args().Slice())
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
	switch {
	case about.deployment == "":
		return p.explainDevice(ctx, nc, format, about.device)
	case about.device == "":
		return p.explainDeployment(ctx, nc, format, about.deployment)
	}
	return p.explainPair(ctx, nc, format, about)
}

func explainArguments(args []string) (topic, error) {
	var t topic
	if len(args) == 1 {
		if device, deployment, ok := strings.Cut(args[0], "/"); ok && kindOf(device) == "" {
			t = topic{fleet.DeviceID(device), fleet.DeploymentName(deployment)}
			if device == "" || deployment == "" {
				return t, usagef("%q lacks a name: it is DEVICE/DEPLOYMENT", args[0])
			}
			return t, nil
		}
	}
	kind, args, err := kindAndNames("explain", args, 2)
	if err != nil {
		return t, err
	}
	if kind == fleet.ResourceDevices {
		t.device = fleet.DeviceID(args[0])
		if len(args) == 2 {
			t.deployment = fleet.DeploymentName(args[1])
		}
		return t, nil
	}
	t.deployment = fleet.DeploymentName(args[0])
	if len(args) == 2 {
		t.device = fleet.DeviceID(args[1])
	}
	return t, nil
}

// kindAndNames reads "device pi-07" and "device/pi-07", with at most so many names.
func kindAndNames(command string, args []string, most int) (kind string, names []string, err error) {
	if len(args) > 0 {
		if head, name, ok := strings.Cut(args[0], "/"); ok && kindOf(head) != "" {
			args = append([]string{head, name}, args[1:]...)
		}
	}
	switch {
	case len(args) == 0:
		return "", nil, usagef("say what to %s: 'fleet %s device NAME' or 'fleet %s deployment NAME'", command, command, command)
	case kindOf(args[0]) == "":
		return "", nil, usagef("unknown kind %q: did you mean 'fleet %s device %s' or 'fleet %s deployment %s'?", args[0], command, args[0], command, args[0])
	case len(args) == 1 || args[1] == "":
		return "", nil, usagef("say which %s: 'fleet get %s' lists them", strings.TrimSuffix(kindOf(args[0]), "s"), kindOf(args[0]))
	case len(args) > 1+most:
		return "", nil, usagef("'fleet %s' got %q too", command, args[1+most])
	}
	return kindOf(args[0]), args[1:], nil
}

// kindOf is the plural of a kind that a person may have typed, or "".
func kindOf(typed string) string {
	switch strings.ToLower(typed) {
	case "deployments", "deployment", "fdep":
		return fleet.ResourceDeployments
	case "devices", "device", "fdev":
		return fleet.ResourceDevices
	}
	return ""
}

func (p *program) explainDevice(ctx context.Context, nc *nats.Conn, format string, id fleet.DeviceID) error {
	verdicts, err := deviceVerdicts(ctx, nc, id)
	if err != nil {
		return err
	}
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, verdicts)
	}
	device, err := rpc.Call[fleet.GetRequest, fleet.DevicesGetResponse](ctx, nc, fleet.DevicesGet, fleet.GetRequest{Name: string(id)})
	known := err == nil
	if err != nil && fleet.CodeOf(err) != fleet.CodeNotFound {
		return err
	}
	return p.showPage(deviceVerdictsPage(id, device, known, verdicts, format == formatWide))
}

// deviceVerdicts gathers all pages.
func deviceVerdicts(ctx context.Context, nc *nats.Conn, id fleet.DeviceID) (all fleet.DeviceVerdictsResponse, err error) {
	req := fleet.DeviceVerdictsRequest{Device: id, Page: fleet.Page{Limit: fleet.MaxLimit}}
	for first := true; ; first = false {
		part, err := rpc.Call[fleet.DeviceVerdictsRequest, fleet.DeviceVerdictsResponse](ctx, nc, fleet.DeviceVerdicts, req)
		if err != nil {
			return all, err
		}
		if first {
			all = part
		} else {
			all.Items = append(all.Items, part.Items...)
			all.Synced, all.Reason = all.Synced && part.Synced, all.Reason+part.Reason
		}
		if all.Next = ""; part.Next == "" {
			return all, nil
		}
		req.After = part.Next
	}
}

func (p *program) explainDeployment(ctx context.Context, nc *nats.Conn, format string, name fleet.DeploymentName) error {
	req := fleet.DeploymentExplainRequest{Deployment: name}
	got, err := rpc.Call[fleet.DeploymentExplainRequest, fleet.DeploymentExplainResponse](ctx, nc, fleet.DeploymentExplain, req)
	if err != nil {
		return err
	}
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, got)
	}
	// One that is gone and held is explained, and has no pairs to show.
	pairs, err := rpc.Call[fleet.GetRequest, fleet.DeploymentsGetResponse](ctx, nc, fleet.DeploymentsGet, fleet.GetRequest{Name: string(name)})
	if err != nil && fleet.CodeOf(err) != fleet.CodeNotFound {
		return err
	}
	return p.showPage(deploymentVerdictsPage(got, pairs.Pairs, format == formatWide))
}

func (p *program) explainPair(ctx context.Context, nc *nats.Conn, format string, about topic) error {
	req := fleet.DeviceExplainRequest{Device: about.device, Deployment: about.deployment}
	got, err := rpc.Call[fleet.DeviceExplainRequest, fleet.DeviceExplainResponse](ctx, nc, fleet.DeviceExplain, req)
	if err != nil {
		return err
	}
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, got)
	}
	return p.showPage(explanationPage(about, got))
}
