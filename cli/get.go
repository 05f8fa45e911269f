package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

func (p *program) getCommand() *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "show deployments or devices as the operator knows them",
		ArgsUsage: "deployments|devices [NAME]",
		Flags: []cli.Flag{
			outputFlag(formatName),
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on showing what changes, until Ctrl-C: as 'fleet watch'"},
			selectorFlag(), stateFlag(), classFlag(), deploymentFlag(),
		},
		OnUsageError: wrongFlag,
		Action:       p.get,
	}
}

// The flags by which devices are filtered.

func selectorFlag() cli.Flag {
	return &cli.StringFlag{Name: "selector", Aliases: []string{"l"}, Usage: "devices: only those with these labels (region=north,arch!=arm64)"}
}

func stateFlag() cli.Flag {
	return &cli.StringFlag{Name: "state", Usage: "devices: only those that are Fresh, Stale or NeverSeen"}
}

func classFlag() cli.Flag {
	return &cli.StringFlag{Name: "class", Usage: "devices: only those on which the gravest of what is desired is running, failed, pending or stale"}
}

func deploymentFlag() cli.Flag {
	return &cli.StringFlag{Name: "deployment", Usage: "devices: only those that this deployment is desired on"}
}

// item is one row: what JSON and YAML show, and the cells of the table.
type item struct {
	name  string
	value any
	row   []string // the columns of "wide"; a table shows the first ones
}

// listing is a kind that can be listed.
type listing struct {
	kind   string   // as "-o name" has it: "deployment"
	header []string // of "wide"
	narrow int      // how many columns a table shows
	moving []string // columns that change by themselves: a watch does not tell of it
	fetch  func(ctx context.Context, nc *nats.Conn, name string) ([]item, error)
}

func (p *program) get(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	kind, name, err := kindAndName("get", c.Args().Slice())
	if err != nil {
		return err
	}
	list, err := getListing(c, kind, name)
	if err != nil {
		return err
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	if c.Bool("watch") {
		return p.watch(c, nc, format, list, name)
	}
	items, err := list.ask(c, nc, name)
	if err != nil {
		return err
	}
	return p.show(format, list, name, items)
}

// ask fetches within the time that the command line gives an answer.
func (l listing) ask(c *cli.Context, nc *nats.Conn, name string) ([]item, error) {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	return l.fetch(ctx, nc, name)
}

// kindAndName reads "deployments", "device pi-07" or "device/pi-07", as "-o name" prints it.
func kindAndName(command string, args []string) (kind, name string, err error) {
	if len(args) == 0 {
		return "", "", usagef("say what to %s: 'fleet %s deployments' or 'fleet %s devices'", command, command, command)
	}
	if k, n, ok := strings.Cut(args[0], "/"); ok && n != "" {
		args = append([]string{k, n}, args[1:]...)
	}
	if len(args) > 2 {
		return "", "", usagef("'fleet %s' takes a kind and one name, got %q too", command, args[2])
	}
	if kind = kindOf(args[0]); kind == "" {
		return "", "", usagef("unknown kind %q: say 'fleet %s deployments' or 'fleet %s devices', with a name behind it to have one", args[0], command, command)
	}
	if len(args) == 2 {
		name = args[1]
	}
	return kind, name, nil
}

func getListing(c *cli.Context, kind, name string) (listing, error) {
	if kind == fleet.ResourceDeployments {
		for _, f := range []string{"selector", "state", "class", "deployment"} {
			if c.IsSet(f) {
				return listing{}, usagef("--%s is for devices", f)
			}
		}
		return deploymentListing(), nil
	}
	if name != "" && (c.IsSet("selector") || c.IsSet("state") || c.IsSet("class") || c.IsSet("deployment")) {
		return listing{}, usagef("a device is named or filtered, not both: got %q and a filter", name)
	}
	filter, err := deviceFilter(c.String("selector"), c.String("state"), c.String("class"), c.String("deployment"))
	return deviceListing(filter), err
}

// show prints what one fetch returned.
func (p *program) show(format string, list listing, name string, items []item) error {
	switch format {
	case formatJSON, formatYAML:
		if name != "" {
			return encode(p.out, format, items[0].value)
		}
		values := make([]any, 0, len(items))
		for _, it := range items {
			values = append(values, it.value)
		}
		return encode(p.out, format, map[string]any{"items": values})
	case formatName:
		return p.showNames(list, items)
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(p.err, "none found")
		return err
	}
	columns := list.columns(format)
	return p.table(list.header[:columns]...).print(rows(items, columns))
}

// showNames prints what other commands take, and nothing when there is none.
func (p *program) showNames(list listing, items []item) error {
	for _, it := range items {
		if _, err := fmt.Fprintf(p.out, "%s/%s\n", list.kind, it.name); err != nil {
			return err
		}
	}
	return nil
}

func (l listing) columns(format string) int {
	if format == formatWide {
		return len(l.header)
	}
	return l.narrow
}

func rows(items []item, columns int) [][]string {
	out := make([][]string, 0, len(items))
	for _, it := range items {
		out = append(out, it.row[:columns])
	}
	return out
}

func deploymentListing() listing {
	return listing{
		kind:   "deployment",
		header: []string{"NAME", "MATCHED", "RUNNING", "FAILED", "PENDING", "STALE", "READY", "GENERATION", "OBSERVED", "SCORE", "SELECTOR", "MESSAGE"},
		narrow: 7,
		fetch:  fetchDeployments,
	}
}

func fetchDeployments(ctx context.Context, nc *nats.Conn, name string) ([]item, error) {
	if name != "" {
		got, err := rpc.Call[fleet.GetRequest, fleet.DeploymentsGetResponse](ctx, nc, fleet.DeploymentsGet, fleet.GetRequest{Name: name})
		if err != nil {
			return nil, err
		}
		return []item{deploymentItem(got.Deployment)}, nil
	}
	return pages(func(after string) ([]item, string, error) {
		req := fleet.DeploymentsListRequest{Page: fleet.Page{Limit: fleet.MaxLimit, After: after}}
		got, err := rpc.Call[fleet.DeploymentsListRequest, fleet.DeploymentsListResponse](ctx, nc, fleet.DeploymentsList, req)
		return items(got.Items, deploymentItem), got.Next, err
	})
}

func deploymentItem(d fleet.DeploymentView) item {
	a := d.Status.Aggregate
	ready, message := readiness(d)
	return item{name: string(d.Name), value: d, row: []string{
		string(d.Name), strconv.Itoa(a.MatchedDeviceCount), strconv.Itoa(a.Running), strconv.Itoa(a.Failed),
		strconv.Itoa(a.Pending), strconv.Itoa(a.Stale), ready,
		strconv.FormatInt(d.Generation, 10), strconv.FormatInt(d.Status.ObservedGeneration, 10),
		d.ScoreType, selectorText(d.TargetSelector), printable(message),
	}}
}

func readiness(d fleet.DeploymentView) (status, message string) {
	if d.Deleting {
		return "Deleting", "being deleted"
	}
	for _, c := range d.Status.Conditions {
		if c.Type == fleet.ConditionReady {
			return string(c.Status), c.Message
		}
	}
	return string(fleet.ConditionUnknown), ""
}

func deviceListing(filter fleet.DevicesListRequest) listing {
	return listing{
		kind:   "device",
		moving: []string{"LAST SEEN"},
		header: []string{"NAME", "STATE", "CLASS", "DEPLOYMENTS", "LAST SEEN", "LABELS", "AGENT", "REGISTERED", "QUARANTINED"},
		narrow: 5,
		fetch: func(ctx context.Context, nc *nats.Conn, name string) ([]item, error) {
			return fetchDevices(ctx, nc, name, filter)
		},
	}
}

func fetchDevices(ctx context.Context, nc *nats.Conn, name string, filter fleet.DevicesListRequest) ([]item, error) {
	if name != "" {
		got, err := rpc.Call[fleet.GetRequest, fleet.DevicesGetResponse](ctx, nc, fleet.DevicesGet, fleet.GetRequest{Name: name})
		if err != nil {
			return nil, err
		}
		return []item{deviceItem(got.AsOf)(got.Device)}, nil
	}
	return pages(func(after string) ([]item, string, error) {
		req := filter
		req.Page = fleet.Page{Limit: fleet.MaxLimit, After: after}
		got, err := rpc.Call[fleet.DevicesListRequest, fleet.DevicesListResponse](ctx, nc, fleet.DevicesList, req)
		return items(got.Items, deviceItem(got.AsOf)), got.Next, err
	})
}

func deviceItem(asOf time.Time) func(fleet.DeviceView) item {
	return func(d fleet.DeviceView) item {
		return item{name: string(d.Name), value: d, row: []string{
			string(d.Name), string(d.State), dash(string(d.Class)), strconv.Itoa(d.Deployments), ago(asOf, d.LastSeen),
			labelText(d.Labels), printable(d.Agent), strconv.FormatBool(d.Registered), strconv.FormatBool(d.Quarantined),
		}}
	}
}

// pages gathers all pages of a list.
func pages(fetch func(after string) ([]item, string, error)) ([]item, error) {
	var all []item
	for after := ""; ; {
		part, next, err := fetch(after)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		if next == "" {
			return all, nil
		}
		after = next
	}
}

func items[T any](values []T, f func(T) item) []item {
	out := make([]item, 0, len(values))
	for _, v := range values {
		out = append(out, f(v))
	}
	return out
}

// ago says how long before asOf a server stamp is, in the unit that kubectl would choose.
func ago(asOf time.Time, at *time.Time) string {
	if at == nil {
		return "never"
	}
	d := max(0, asOf.Sub(*at))
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}

func labelText(labels map[string]string) string {
	parts := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return printable(strings.Join(parts, ","))
}
