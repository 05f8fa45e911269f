package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
)

// watchEvery is how often a watch asks.
const watchEvery = time.Second

func (p *program) watchCommand() *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "go on showing what changes, until Ctrl-C",
		ArgsUsage: "[deployments|devices|status] [NAME]",
		Description: `Shows all rows, then those that change; one that is no longer there says <gone>. Without arguments it watches deployments.
What is wrong with the operator is told on standard error when it begins and when it ends: what is shown meanwhile may be old.
As JSON each change is a document of its own, and one that is gone is {"name": NAME, "gone": true}.`,
		Flags:        []cli.Flag{outputFlag(formatName), selectorFlag(), stateFlag(), classFlag(), deploymentFlag()},
		OnUsageError: wrongFlag,
		Action:       p.watchKind,
	}
}

// watchedStatus is what 'fleet watch' takes beside kinds.
const watchedStatus = "status"

func (p *program) watchKind(c *cli.Context) error {
	format, err := outputFormat(c)
	if err != nil {
		return err
	}
	list, name, err := watchListing(c, format)
	if err != nil {
		return err
	}
	nc, err := p.connect(c)
	if err != nil {
		return err
	}
	defer nc.Close()
	return p.watch(c, nc, format, list, name)
}

func watchListing(c *cli.Context, format string) (list listing, name string, err error) {
	args := c.Args().Slice()
	switch {
	case len(args) == 0:
		args = []string{"deployments"}
	case args[0] == watchedStatus && len(args) > 1:
		return list, "", usagef("'fleet watch status' takes no name, got %q", args[1])
	case args[0] == watchedStatus && format == formatName:
		return list, "", usagef("--output name is for deployments and devices")
	case args[0] == watchedStatus:
		return statusListing(), "", nil
	}
	kind, name, err := kindAndName("watch", args)
	if err != nil {
		return list, "", err
	}
	list, err = getListing(c, kind, name)
	return list, name, err
}

// watch shows all items, then those that changed, until the command is stopped. While the operator does not answer
// it says so once, on standard error, and goes on.
func (p *program) watch(c *cli.Context, nc *nats.Conn, format string, list listing, name string) error {
	ctx := c.Context
	w := &watcher{p: p, format: format, list: list, known: map[string]item{}}
	w.table = p.table(list.header[:list.columns(format)]...)
	news := healthNews(ctx, nc)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		items, err := list.ask(c, nc, name)
		if ctx.Err() != nil {
			return nil // Ctrl-C is how a watch ends
		}
		if err != nil && first {
			return err
		}
		if err := w.take(items, err); err != nil {
			return err
		}
		if !p.tellNews(ctx, news, tick.C) {
			return nil
		}
	}
}

// tellNews tells news until it is time to ask again. It returns false when there is nothing more to do.
func (p *program) tellNews(ctx context.Context, news <-chan string, tick <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case text := <-news:
			fmt.Fprintln(p.err, text)
		case <-tick:
			return true
		}
	}
}

// watcher shows what changes.
type watcher struct {
	p      *program
	format string
	list   listing
	table  *table
	known  map[string]item
	silent string // the error of the last time
}

// take shows what differs from the last time.
func (w *watcher) take(items []item, err error) error {
	if err != nil {
		if text := readable(err); text != w.silent {
			w.silent = text
			fmt.Fprintf(w.p.err, "fleet: %s; going on to ask\n", text)
		}
		return nil
	}
	w.silent = ""
	return w.show(w.changed(items))
}

// visible is what counts as a change: what is shown, but for what changes by itself.
func (w *watcher) visible(it item) []string {
	columns := len(it.row)
	if w.format == formatTable {
		columns = w.list.narrow
	}
	row := slices.Clone(it.row[:columns])
	for i := range row {
		if slices.Contains(w.list.moving, w.list.header[i]) {
			row[i] = ""
		}
	}
	return row
}

// changed returns the items that are new or differ from the known ones, and remembers them.
func (w *watcher) changed(items []item) []item {
	var out []item
	now := map[string]bool{}
	for _, it := range items {
		now[it.name] = true
		if old, ok := w.known[it.name]; !ok || !slices.Equal(w.visible(old), w.visible(it)) {
			out = append(out, it)
		}
		w.known[it.name] = it
	}
	for _, name := range slices.Sorted(maps.Keys(w.known)) {
		if !now[name] {
			out = append(out, w.gone(w.known[name]))
			delete(w.known, name)
		}
	}
	return out
}

func (w *watcher) show(items []item) error {
	switch w.format {
	case formatTable, formatWide:
		if len(items) == 0 && w.table.headed {
			return nil
		}
		return w.table.print(rows(items, w.list.columns(w.format)))
	case formatName:
		return w.p.showNames(w.list, items)
	}
	for _, it := range items {
		if w.format == formatYAML {
			fmt.Fprintln(w.p.out, "---")
		}
		if err := encode(w.p.out, w.format, it.value); err != nil {
			return err
		}
	}
	return nil
}

// gone is the last row of an item that is no longer there.
func (w *watcher) gone(it item) item {
	row := make([]string, len(it.row))
	at := max(1, slices.Index(w.list.header, "STATE"))
	copy(row, it.row[:at])
	row[at] = "<gone>"
	return item{name: it.name, value: map[string]any{"name": it.name, "gone": true}, row: row}
}

// statusListing lists the replicas of all services.
func statusListing() listing {
	return listing{
		kind: "replica", header: statusHeader, narrow: statusNarrow, moving: []string{"UP", "ENTRIES"},
		fetch: func(ctx context.Context, nc *nats.Conn, _ string) ([]item, error) {
			services, err := gatherHealth(ctx, nc, time.Second)
			var all []item
			for _, s := range services {
				all = append(all, replicaItems(s)...)
			}
			return all, err
		},
	}
}

// healthNews asks the operator how it is until ctx ends, and sends what is wrong, and that it is over.
func healthNews(ctx context.Context, nc *nats.Conn) <-chan string {
	news := make(chan string)
	go func() {
		told := newsDesk{}
		for {
			services, err := gatherHealth(ctx, nc, time.Second)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				for _, text := range told.since(services) {
					select {
					case <-ctx.Done():
						return
					case news <- text:
					}
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(watchEvery):
			}
		}
	}()
	return news
}

// newsDesk remembers what was told of the operator.
type newsDesk struct {
	notes []string
	wrong bool
}

// since returns what is new.
func (d *newsDesk) since(services []serviceStatus) []string {
	notes := statusNotes(services)
	if len(notes) == 0 {
		notes = restless(services)
	}
	var out []string
	for _, n := range notes {
		if !slices.Contains(d.notes, n) {
			out = append(out, n)
		}
	}
	if d.wrong && len(notes) == 0 {
		out = append(out, "all services are ready: "+strings.Join(readyNames(services), ", "))
	}
	d.notes, d.wrong = notes, len(notes) > 0
	return out
}

// restless names the replicas that cannot be relied on, and give no reason. One that is converging writes what was asked of
// it: that is how each change begins.
func restless(services []serviceStatus) []string {
	var notes []string
	for _, s := range services {
		for _, h := range s.Replicas {
			if !h.Ready || h.State != fleet.StateReady && h.State != fleet.StateConverging {
				notes = append(notes, printable(fmt.Sprintf("%s is %s", h.Instance, h.State)))
			}
		}
	}
	return notes
}

func readyNames(services []serviceStatus) []string {
	var names []string
	for _, s := range services {
		for _, h := range s.Replicas {
			names = append(names, printable(h.Instance))
		}
	}
	return names
}
