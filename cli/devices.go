package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"

	"harmony.dev/devstack/cluster"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

const forgetText = `Deletes the Device resources, with the kubeconfig. The operator then takes from the buckets what the devices were to run and what
they have reported, and lets the resources go; 'fleet devices forget' waits for that. For devices that are gone for good.

A device that is alive registers again by itself at once, with what it says of itself: to forget it is a reset, and what it
runs stops in between. So a Fresh one is refused without --force. To keep a living device out, quarantine it instead:
  kubectl patch fdev NAME --type merge -p '{"spec":{"quarantined":true}}'

When one of the devices is refused, none is deleted. When the cluster fails in between, those before it are being deleted, and
those after it are not touched: the command names them. In a cluster it needs: get and delete on devices of
fleet.harmony.dev.`

func (p *program) devicesCommand() *cli.Command {
	return &cli.Command{
		Name:            "devices",
		Usage:           "what is done to devices; 'fleet get devices' lists them",
		HideHelpCommand: true,
		OnUsageError:    wrongFlag,
		Action:          group,
		Subcommands: []*cli.Command{{
			Name:        "forget",
			Usage:       "delete devices that are gone for good, with all that is known of them",
			ArgsUsage:   "NAME...",
			Description: forgetText,
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "the fleet: a Kubernetes namespace; default: the fleet that the services run"},
				&cli.BoolFlag{Name: "force", Usage: "also devices that are Fresh, or of which the operator cannot say so"},
				&cli.BoolFlag{Name: "wait", Value: true, Usage: "wait until they are gone; --wait=false: do not"},
				&cli.DurationFlag{Name: "within", Value: time.Minute, Usage: "how long to wait"},
				kubeconfigFlag(), yesFlag(), outputFlag(formatName),
			},
			OnUsageError: wrongFlag,
			Action:       p.forget,
		}},
	}
}

// forgotten is a device that was asked to be forgotten, and how far that is.
type forgotten struct {
	Name     string            `json:"name"`
	State    fleet.DeviceState `json:"state,omitempty"`    // before; left out when the operator knew nothing of it
	LastSeen *time.Time        `json:"lastSeen,omitempty"` // before
	Gone     bool              `json:"gone"`               // the resource is no longer there

	registered bool             // the operator knows of a resource …
	uid        string           // … with this uid
	resource   cluster.Resource // without a name: there is none
}

// forgottenDocument is what was done, as JSON.
type forgottenDocument struct {
	Devices []*forgotten `json:"devices"`
}

func (p *program) forget(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	names, err := forgetArguments(c)
	if err != nil {
		return err
	}
	client, err := p.clusterBeside(c)
	if err != nil {
		return err
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	namespace, err := namespaceOf(c, nc)
	if err != nil {
		return err
	}
	all, err := lookAt(c, nc, names)
	if err != nil {
		return err
	}
	if err := findAll(c.Context, client, namespace, all); err != nil {
		return err
	}
	if err := p.confirm(c, forgetQuestion(namespace, all)); err != nil {
		return err
	}
	return p.forgetAll(c, nc, client, format, namespace, all)
}

// forgetArguments returns the names, each once. They may be written as "-o name" prints them.
func forgetArguments(c *cli.Context) ([]string, error) {
	var names []string
	for _, arg := range c.Args().Slice() {
		name := strings.TrimPrefix(arg, "device/")
		if err := fleet.DeviceID(name).Validate(); err != nil {
			return nil, usagef("%q is no name of a device", arg)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch namespace := c.String("namespace"); {
	case len(names) == 0:
		return nil, usagef("say which devices: 'fleet devices forget NAME...'")
	case namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0:
		return nil, usagef("--namespace %q is no name of a namespace", namespace)
	case c.Duration("within") <= 0:
		return nil, usagef("--within must be positive")
	}
	return names, nil
}

// namespaceOf returns the namespace that the command line names, else that of the services.
func namespaceOf(c *cli.Context, nc *nats.Conn) (string, error) {
	if n := c.String("namespace"); n != "" {
		return n, nil
	}
	services, err := gatherHealth(c.Context, nc, time.Second)
	if err != nil {
		return "", err
	}
	if n := fleetOf(services); n != "" {
		return n, nil
	}
	return "", errors.New("no service answers, so it is not known which fleet is meant: say so with --namespace NS")
}

// lookAt asks the operator how the devices are, and returns an error when one must not be forgotten without --force.
func lookAt(c *cli.Context, nc *nats.Conn, names []string) ([]*forgotten, error) {
	var all []*forgotten
	var living []string
	for _, name := range names {
		d := &forgotten{Name: name}
		all = append(all, d)
		got, err := askDevice(c, nc, name)
		switch {
		case err == nil:
			d.State, d.LastSeen, d.registered, d.uid = got.State, got.LastSeen, got.Registered, got.UID
		case fleet.CodeOf(err) == fleet.CodeNotFound:
		case !c.Bool("force"):
			return nil, fmt.Errorf("it is not known whether device %s is alive: %w; nothing was deleted; --force deletes it all the same", name, err)
		}
		if d.State == fleet.DeviceFresh {
			living = append(living, name)
		}
	}
	if len(living) > 0 && !c.Bool("force") {
		return nil, fmt.Errorf("alive, so that forgetting is a reset: %s: nothing was deleted\nswitch them off first, or say --force; they register again by themselves ('fleet devices forget --help' tells how to keep one out)",
			few(living))
	}
	return all, nil
}

func askDevice(c *cli.Context, nc *nats.Conn, name string) (fleet.DeviceView, error) {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	got, err := rpc.Call[fleet.GetRequest, fleet.DevicesGetResponse](ctx, nc, fleet.DevicesGet, fleet.GetRequest{Name: name})
	return got.Device, err
}

// few names some, and counts the rest.
func few(names []string) string {
	const named = 10
	if len(names) <= named {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:named], ", "), len(names)-named)
}

func forgetQuestion(namespace string, all []*forgotten) string {
	var parts []string
	now := time.Now()
	for _, d := range all {
		switch {
		case d.State == "":
			parts = append(parts, d.Name+" (not known to the operator)")
		case d.LastSeen == nil:
			parts = append(parts, fmt.Sprintf("%s (%s)", d.Name, d.State))
		default:
			parts = append(parts, fmt.Sprintf("%s (%s, seen %s)", d.Name, d.State, ago(now, d.LastSeen)))
		}
	}
	return fmt.Sprintf("Delete %d Device(s) of namespace %s, with all that they were to run and have reported: %s.", len(all), namespace, few(parts))
}

// findAll finds the resources. A device that is unknown to all is an error: it is a name that was misspelt; so is one that the
// operator knows to have a resource, and has none: it looks into another namespace, or cluster.
func findAll(ctx context.Context, client cluster.Client, namespace string, all []*forgotten) error {
	for _, d := range all {
		resource, found, err := cluster.FindDevice(ctx, client, namespace, d.Name)
		switch {
		case err != nil:
			return fmt.Errorf("%w: nothing was deleted", err)
		case !found && d.State == "":
			return fmt.Errorf("there is no device %s in namespace %s, and the operator knows of none: nothing was deleted", d.Name, namespace)
		case found && d.uid != "" && d.uid != string(resource.UID):
			return fmt.Errorf("device %s in namespace %s is not the one that the operator has: is the kubeconfig that of this fleet's cluster? nothing was deleted; if it was made anew just now, try again", d.Name, namespace)
		case !found && d.registered:
			return fmt.Errorf("there is no device %s in namespace %s, though the operator has its resource: is that the namespace, and the kubeconfig, of this fleet? nothing was deleted", d.Name, namespace)
		}
		d.resource = resource
	}
	return nil
}

// forgetAll deletes and waits. What was deleted before something went wrong is shown.
func (p *program) forgetAll(c *cli.Context, nc *nats.Conn, client cluster.Client, format, namespace string, all []*forgotten) error {
	var deleted []cluster.Resource
	for i, d := range all {
		if d.resource.Name == "" {
			d.Gone = true
			fmt.Fprintf(p.err, "device %s has no resource: what it has reported goes within an hour, unless it is alive and registers\n", d.Name)
			continue
		}
		if err := cluster.DeleteDevice(c.Context, client, namespace, d.resource); err != nil {
			return errors.Join(p.showForgotten(format, all[:i]), notDeleted(d.Name, all[i+1:], err))
		}
		deleted = append(deleted, d.resource)
	}
	if !c.Bool("wait") {
		return p.showForgotten(format, all)
	}
	left, err := p.awaitForgotten(c, nc, client, namespace, deleted)
	for _, d := range all {
		d.Gone = !slices.Contains(left, d.Name)
	}
	return errors.Join(p.showForgotten(format, all), err)
}

// notDeleted says what is known of a device whose deletion returned an error, and names those that were to come after it.
func notDeleted(name string, after []*forgotten, err error) error {
	what := fmt.Sprintf("it is not known whether device %s is being deleted: 'fleet get devices' shows it, and forgetting it again is safe", name)
	if refused(err) {
		what = fmt.Sprintf("device %s was not deleted", name)
	}
	var untouched []string
	for _, d := range after {
		if d.resource.Name != "" {
			untouched = append(untouched, d.Name)
		}
	}
	if len(untouched) > 0 {
		what += "; not touched: " + strings.Join(untouched, " ")
	}
	return fmt.Errorf("%s: %w", what, err)
}

// refused reports whether the apiserver answered that it does not do what it was asked for.
func refused(err error) bool {
	var status apierrors.APIStatus // no error itself
	return errors.As(err, &status) && status.Status().Code >= http.StatusBadRequest && status.Status().Code < http.StatusInternalServerError
}

// awaitForgotten returns the names of those that are still there.
func (p *program) awaitForgotten(c *cli.Context, nc *nats.Conn, client cluster.Client, namespace string, deleted []cluster.Resource) ([]string, error) {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("within"))
	defer cancel()
	hint := "'fleet status' says whether the operator, which lets them go, runs"
	if len(deleted) > 0 && holds(c.Context, nc) {
		hint = "the operator clears nothing while the brake holds deletes back: 'fleet hold show' says what"
		fmt.Fprintln(p.err, hint)
	}
	shown := p.progress("forgetting", "devices gone", uint64(len(deleted)))
	left, err := cluster.AwaitGone(ctx, client, namespace, deleted, func(left []string) { shown.at(uint64(len(deleted) - len(left))) })
	shown.end()
	switch {
	case err == nil:
		return nil, nil
	case c.Err() != nil:
		return left, fmt.Errorf("stopped: these are being deleted, and go as soon as the operator has cleared what is known of them: %s", few(left))
	case ctx.Err() != nil:
		return left, fmt.Errorf("after %s these are still being deleted: %s; %s", c.Duration("within"), few(left), hint)
	}
	return left, err
}

// holds reports whether a reconciler says that the brake holds deletes back.
func holds(ctx context.Context, nc *nats.Conn) bool {
	services, _ := gatherHealth(ctx, nc, time.Second) // it is a hint
	for _, s := range services {
		for _, h := range s.Replicas {
			if slices.ContainsFunc(h.Reasons, func(r fleet.Reason) bool { return r.Reason == fleet.ReasonHeld }) {
				return true
			}
		}
	}
	return false
}

func (p *program) showForgotten(format string, all []*forgotten) error {
	switch format {
	case formatJSON, formatYAML:
		return encode(p.out, format, forgottenDocument{Devices: append([]*forgotten{}, all...)})
	case formatName:
		return p.showNames(deviceListing(fleet.DevicesListRequest{}), items(all, func(d *forgotten) item { return item{name: d.Name} }))
	}
	for _, d := range all {
		how := "is being deleted"
		if d.Gone {
			how = "is gone"
		}
		if _, err := fmt.Fprintf(p.out, "device %s %s\n", d.Name, how); err != nil {
			return err
		}
	}
	return nil
}
