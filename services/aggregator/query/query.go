// Package query answers questions from the projection: the aggregator's query endpoints.
//
// Any replica answers whose sources are in view; the others say 503 and why. Each answer says as of when
// it holds and whether the mirror was whole. Lists are sorted by name and paged: ask again with After =
// Next. A page ends at its limit or at 512 KiB, whichever comes first, so that no text of a device makes an
// answer that cannot be sent.
package query

import (
	"context"
	"errors"
	"slices"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/view"
)

// Server answers from a view.
type Server struct{ view *view.View }

// Register adds the query endpoints to a micro server.
func Register(s *rpc.Server, v *view.View) error {
	q := &Server{view: v}
	return errors.Join(
		rpc.Handle(s, fleet.DeploymentsList, q.DeploymentsList),
		rpc.Handle(s, fleet.DeploymentsGet, q.DeploymentsGet),
		rpc.Handle(s, fleet.DeploymentExplain, q.DeploymentExplain),
		rpc.Handle(s, fleet.DevicesList, q.DevicesList),
		rpc.Handle(s, fleet.DevicesSummary, q.DevicesSummary),
		rpc.Handle(s, fleet.DevicesGet, q.DevicesGet),
		rpc.Handle(s, fleet.SelectorMatch, q.SelectorMatch),
		rpc.Handle(s, fleet.DeviceExplain, q.DeviceExplain),
		rpc.Handle(s, fleet.DeviceVerdicts, q.DeviceVerdicts),
	)
}

// answer runs f on the projection when it is in view.
func answer[Resp any](ctx context.Context, v *view.View, f func(s *projection.State, m view.Moment) (Resp, error)) (resp Resp, err error) {
	if err := ctx.Err(); err != nil {
		return resp, err
	}
	v.Read(func(s *projection.State, m view.Moment) {
		if !m.InView {
			err = fleet.Errorf(fleet.CodeUnavailable, "NotInView", "this instance cannot answer yet: %s", m.Reason)
			return
		}
		resp, err = f(s, m)
	})
	return resp, err
}

// scanChunk is how many devices are looked at while the view is locked.
const scanChunk = 8192

// scan calls look for each device, sorted by name. The view is locked for a chunk of them at a time, so that
// nobody waits for a whole fleet.
func scan(ctx context.Context, v *view.View, look func(s *projection.State, d projection.Device)) (fleet.Freshness, error) {
	return scanBy(ctx, v, scanChunk, look, func() {})
}

// scanBy is scan with a size of the chunks. After each it calls then, for which the view is not locked.
func scanBy(ctx context.Context, v *view.View, size int, look func(s *projection.State, d projection.Device), then func()) (fleet.Freshness, error) {
	var names []fleet.DeviceID
	fresh, err := answer(ctx, v, func(s *projection.State, m view.Moment) (fleet.Freshness, error) {
		names = s.DeviceNames()
		return freshness(m), nil
	})
	if err != nil {
		return fleet.Freshness{}, err
	}
	for chunk := range slices.Chunk(names, size) {
		_, err := answer(ctx, v, func(s *projection.State, _ view.Moment) (struct{}, error) {
			for _, id := range chunk {
				if d, ok := s.Device(id); ok {
					look(s, d)
				}
			}
			return struct{}{}, nil
		})
		if err != nil {
			return fleet.Freshness{}, err
		}
		then()
	}
	return fresh, nil
}

func freshness(m view.Moment) fleet.Freshness {
	return fleet.Freshness{AsOf: m.Now.UTC(), Synced: m.Whole, Reason: m.Reason}
}

// invalid turns an error of a Validate method into the answer to a malformed request.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return fleet.Errorf(fleet.CodeInvalid, "Invalid", "%s", err)
}

// after returns the names after one.
func after[Name ~string](names []Name, name string) []Name {
	i, found := slices.BinarySearch(names, Name(name))
	if found {
		i++
	}
	return names[i:]
}

// page collects the items of a page and knows what to ask for next.
type page[Item any] struct {
	size  int
	after string
	items []Item
	names []string // of the items
	next  string
	total int
}

func newPage[Item any](p fleet.Page) *page[Item] {
	return &page[Item]{size: p.Size(), after: p.After, items: []Item{}}
}

// count counts an item and reports whether it is of this page, to be added. Items come sorted by name.
func (p *page[Item]) count(name string) bool {
	p.total++
	switch {
	case name <= p.after:
	case len(p.names) < p.size:
		p.names = append(p.names, name)
		return true
	case p.next == "":
		p.next = p.names[len(p.names)-1]
	}
	return false
}

// add takes an item in that was counted.
func (p *page[Item]) add(i Item) { p.items = append(p.items, i) }

// fit ends the page where its bytes do. It is called when all items are counted, and without the lock.
func (p *page[Item]) fit() error {
	items, err := fit(p.items, budget)
	if err != nil || len(items) == len(p.items) {
		return err
	}
	p.items, p.next = items, p.names[len(items)-1]
	return nil
}
