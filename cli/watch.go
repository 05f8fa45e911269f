package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// watchEvery is how often a watch asks.
const watchEvery = time.Second

// watch shows all items, then those that changed, until ctx ends. While the operator does not answer
// it says so once, on standard error, and goes on.
func (p *program) watch(ctx context.Context, format string, list listing, fetch func(context.Context) ([]item, error)) error {
	columns := list.columns(format)
	t := newTable(p.out, list.header[:columns]...)
	known := map[string]item{}
	silent := ""
	for first := true; ; first = false {
		items, err := fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // Ctrl-C is how a watch ends
		case err != nil && first:
			return err
		case err != nil && err.Error() != silent:
			silent = err.Error()
			fmt.Fprintf(p.err, "fleet: %v; going on to ask\n", err)
		case err == nil:
			silent = ""
			if err := p.showChanged(format, t, columns, changed(known, items)); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// changed returns the items that are new or differ from the known ones, and remembers them.
func changed(known map[string]item, items []item) []item {
	var out []item
	now := map[string]bool{}
	for _, it := range items {
		now[it.name] = true
		if old, ok := known[it.name]; !ok || !slices.Equal(visible(old), visible(it)) {
			out = append(out, it)
		}
		known[it.name] = it
	}
	for name, old := range known {
		if !now[name] {
			delete(known, name)
			out = append(out, gone(old))
		}
	}
	return out
}

func (p *program) showChanged(format string, t *table, columns int, items []item) error {
	if format == formatTable || format == formatWide {
		if len(items) == 0 && t.headed {
			return nil
		}
		return t.print(rows(items, columns))
	}
	for _, it := range items {
		if format == formatYAML {
			fmt.Fprintln(p.out, "---")
		}
		if err := encode(p.out, format, it.value); err != nil {
			return err
		}
	}
	return nil
}

// visible is what counts as a change: not the time that has passed since a device was last seen.
func visible(it item) []string {
	row := slices.Clone(it.row)
	for i, cell := range row {
		if strings.HasSuffix(cell, " ago") {
			row[i] = ""
		}
	}
	return row
}

// gone is the last row of an item that is no longer there.
func gone(it item) item {
	row := make([]string, len(it.row))
	row[0] = it.name
	row[1] = "<gone>"
	return item{name: it.name, value: map[string]any{"name": it.name, "gone": true}, row: row}
}
