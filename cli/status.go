package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

func (p *program) statusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "show how the operator is: its services, replicas, lease holders and sources",
		Description: "The exit code is 0 only when all three services answer, the state of every replica is ready, and one of each acts.",
		Flags: []cli.Flag{
			outputFlag(),
			&cli.DurationFlag{Name: "wait", Value: time.Second, Usage: "how long to gather the answers of the replicas"},
		},
		OnUsageError: wrongFlag,
		Action:       p.status,
	}
}

// serviceStatus is one service with all replicas that answered.
type serviceStatus struct {
	Service  string         `json:"service"`
	Replicas []fleet.Health `json:"replicas"`
}

// statusDocument is the status as JSON.
type statusDocument struct {
	Ready    bool            `json:"ready"`
	Services []serviceStatus `json:"services"`
}

// acts reports whether a replica holds the lease.
func (s serviceStatus) acts() bool {
	return slices.ContainsFunc(s.Replicas, func(h fleet.Health) bool { return h.Lease == nil || h.Lease.Held })
}

func (p *program) status(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	if c.NArg() > 0 {
		return usagef("'fleet status' takes no argument, got %q", c.Args().First())
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	services, err := gatherHealth(c.Context, nc, c.Duration("wait"))
	if err != nil {
		return err
	}
	if err := p.showStatus(format, services); err != nil {
		return err
	}
	if !allReady(services) {
		return errQuiet
	}
	return nil
}

// gatherHealth asks the three services at once.
func gatherHealth(ctx context.Context, nc *nats.Conn, wait time.Duration) ([]serviceStatus, error) {
	names := fleet.Services()
	out := make([]serviceStatus, len(names))
	errs := make(chan error, len(names))
	for i, name := range names {
		go func() {
			hs, err := rpc.CallEvery[struct{}, fleet.Health](ctx, nc, fleet.HealthEndpoint(name), struct{}{}, wait)
			hs = append([]fleet.Health{}, hs...) // "[]" as JSON when it is silent
			slices.SortFunc(hs, func(a, b fleet.Health) int { return cmp.Compare(a.Instance, b.Instance) })
			out[i] = serviceStatus{Service: name, Replicas: hs}
			errs <- err
		}()
	}
	for range names {
		if err := <-errs; err != nil && fleet.CodeOf(err) != fleet.CodeUnavailable {
			return nil, fmt.Errorf("ask for health: %w", err)
		}
	}
	return out, nil
}

// allReady reports whether the state of every replica is ready, not degraded, held or converging, and of
// each service one acts.
func allReady(services []serviceStatus) bool {
	for _, s := range services {
		if len(s.Replicas) == 0 || !s.acts() {
			return false
		}
		for _, h := range s.Replicas {
			if !h.Ready || h.State != fleet.StateReady {
				return false
			}
		}
	}
	return true
}

func (p *program) showStatus(format string, services []serviceStatus) error {
	if format == formatJSON || format == formatYAML {
		return encode(p.out, format, statusDocument{Ready: allReady(services), Services: services})
	}
	columns := len(statusHeader)
	if format != formatWide {
		columns = statusNarrow
	}
	var rows [][]string
	for _, s := range services {
		for _, it := range replicaItems(s) {
			rows = append(rows, it.row[:columns])
		}
	}
	if err := p.table(statusHeader[:columns]...).print(rows); err != nil {
		return err
	}
	for _, n := range statusNotes(services) {
		if _, err := fmt.Fprintln(p.out, n); err != nil {
			return err
		}
	}
	return nil
}

// statusHeader is that of "wide"; a table shows the first columns.
var statusHeader = []string{"SERVICE", "INSTANCE", "STATE", "READY", "LEASE", "SOURCES", "VERSION", "EPOCH", "UP", "ENTRIES", "SET ASIDE"}

const statusNarrow = 7

// replicaItems are the rows of a service: one when it is silent.
func replicaItems(s serviceStatus) []item {
	if len(s.Replicas) == 0 {
		silent := map[string]any{"service": s.Service, "silent": true}
		return []item{{name: s.Service, value: silent, row: pad([]string{s.Service, "-", "silent", "false"}, len(statusHeader))}}
	}
	return items(s.Replicas, func(h fleet.Health) item { return item{name: h.Instance, value: h, row: healthRow(h)} })
}

// statusNotes say what is wrong and what to do, in lines that are safe to show.
func statusNotes(services []serviceStatus) []string {
	var notes []string
	for _, s := range services {
		if len(s.Replicas) == 0 {
			notes = append(notes, s.Service+" does not answer: is it running, and connected to the same NATS account?")
		}
		if len(s.Replicas) > 0 && !s.acts() {
			notes = append(notes, s.Service+": nobody acts: no replica here holds the lease; that of a replica which was killed ends by itself, after 10 s by default")
		}
		for _, h := range s.Replicas {
			notes = append(notes, healthNotes(h)...)
		}
	}
	for i := range notes {
		notes[i] = printable(notes[i])
	}
	return notes
}

func pad(row []string, n int) []string {
	for len(row) < n {
		row = append(row, "-")
	}
	return row
}

func healthRow(h fleet.Health) []string {
	entries, aside := 0, 0
	for _, s := range h.Sources {
		entries += s.Entries
		aside += s.Poison
	}
	lease, epoch := leaseText(h)
	return []string{
		h.Service, h.Instance, string(h.State), fmt.Sprint(h.Ready), lease, sourcesText(h.Sources), dash(h.Version),
		epoch, h.AsOf.Sub(h.StartedAt).Round(time.Second).String(), fmt.Sprint(entries), fmt.Sprint(aside),
	}
}

func leaseText(h fleet.Health) (lease, epoch string) {
	switch l := h.Lease; {
	case l == nil:
		return "-", "-"
	case l.Held:
		return "holds", fmt.Sprint(l.Epoch)
	case l.Holder == "":
		return "nobody", "-"
	default:
		return "standby of " + l.Holder, "-"
	}
}

// sourcesText is "5/5", or "3/5 (device-state 40%)" while reading.
func sourcesText(sources []fleet.Source) string {
	synced := 0
	var reading []string
	for _, s := range sources {
		switch {
		case s.Synced:
			synced++
		case s.Total > 0:
			reading = append(reading, fmt.Sprintf("%s %d%%", s.Name, min(100, 100*s.Done/s.Total)))
		default:
			reading = append(reading, s.Name)
		}
	}
	text := fmt.Sprintf("%d/%d", synced, len(sources))
	if len(reading) > 0 {
		text += " (" + strings.Join(reading, ", ") + ")"
	}
	return text
}

func healthNotes(h fleet.Health) []string {
	var notes []string
	said := map[string]bool{}
	for _, r := range h.Reasons {
		if !said[r.Message] {
			note := fmt.Sprintf("%s (%s): %s: %s", h.Service, h.Instance, r.Reason, r.Message)
			if r.Reason == fleet.ReasonSetAside {
				note += " (what to do: fleet doctor)"
			}
			notes = append(notes, note)
		}
		said[r.Message] = true
	}
	for _, s := range h.Sources {
		if !s.Synced && s.Reason != "" && !said[s.Reason] {
			notes = append(notes, fmt.Sprintf("%s (%s): %s is not in view: %s", h.Service, h.Instance, s.Name, s.Reason))
			said[s.Reason] = true
		}
	}
	return notes
}
