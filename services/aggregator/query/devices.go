package query

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/view"
)

// DevicesList lists the devices that have a resource or were heard of.
func (q *Server) DevicesList(ctx context.Context, req fleet.DevicesListRequest) (fleet.DevicesListResponse, error) {
	passes, err := deviceFilter(req)
	if err != nil {
		return fleet.DevicesListResponse{}, err
	}
	if err := q.known(ctx, req.Deployment); err != nil {
		return fleet.DevicesListResponse{}, err
	}
	p := newPage[fleet.DeviceView](req.Page)
	fresh, err := scan(ctx, q.view, func(s *projection.State, d projection.Device) {
		if shown(d) && passes(s, d) && p.count(string(d.ID)) {
			p.add(deviceView(s, d))
		}
	})
	if err != nil {
		return fleet.DevicesListResponse{}, err
	}
	if err := p.fit(); err != nil {
		return fleet.DevicesListResponse{}, err
	}
	return fleet.DevicesListResponse{Freshness: fresh, Items: p.items, Next: p.next, Total: p.total}, nil
}

// known returns an error when nothing is known of a Deployment: a misspelled name is not one that is on no device.
func (q *Server) known(ctx context.Context, name fleet.DeploymentName) error {
	_, err := answer(ctx, q.view, func(s *projection.State, _ view.Moment) (struct{}, error) {
		if _, ok := s.Deployment(name); name != "" && !ok {
			return struct{}{}, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no deployment %s", name)
		}
		return struct{}{}, nil
	})
	return err
}

// deviceFilter returns what a request asks for.
func deviceFilter(req fleet.DevicesListRequest) (func(*projection.State, projection.Device) bool, error) {
	if err := invalid(req.Validate()); err != nil {
		return nil, err
	}
	var matcher selector.Matcher
	if req.Selector != nil {
		var err error
		if matcher, err = selector.Compile(*req.Selector); err != nil {
			return nil, invalid(err)
		}
	}
	return func(s *projection.State, d projection.Device) bool {
		if req.State != "" && d.State() != req.State || req.Selector != nil && !matcher.Matches(labels(d)) {
			return false
		}
		if req.Registered != nil && d.Registered != *req.Registered {
			return false
		}
		if req.Class != "" && gravest(s.ClassesOn(d.ID)) != req.Class {
			return false
		}
		return req.Deployment == "" || s.Desired(fleet.Pair{Device: d.ID, Deployment: req.Deployment})
	}, nil
}

// DevicesGet returns one device with its pairs, sorted by Deployment. When there are more than an answer can
// carry, those that need a look are among them, and Device.Deployments tells how many there are.
func (q *Server) DevicesGet(ctx context.Context, req fleet.GetRequest) (fleet.DevicesGetResponse, error) {
	id := fleet.DeviceID(req.Name)
	if err := invalid(id.Validate()); err != nil {
		return fleet.DevicesGetResponse{}, err
	}
	resp, err := answer(ctx, q.view, func(s *projection.State, m view.Moment) (fleet.DevicesGetResponse, error) {
		d, ok := s.Device(id)
		if !ok || !shown(d) {
			return fleet.DevicesGetResponse{}, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no device %s", id)
		}
		resp := fleet.DevicesGetResponse{
			Freshness: freshness(m), Device: deviceView(s, d), Pairs: []fleet.PairView{},
			HeartbeatAt: instant(d.HeartbeatAt.At), InfoAt: instant(d.InfoAt.At), StaleAfterSeconds: q.view.StaleAfter().Seconds(),
		}
		for p := range s.PairsOf(id) {
			if p.Desired {
				resp.Pairs = append(resp.Pairs, p.PairView)
			}
		}
		return resp, nil
	})
	if err != nil {
		return resp, err
	}
	slices.SortStableFunc(resp.Pairs, func(a, b fleet.PairView) int { return cmp.Compare(concern(a.Class), concern(b.Class)) })
	resp.Pairs, err = fitBeside(resp.Device, resp.Pairs)
	slices.SortFunc(resp.Pairs, func(a, b fleet.PairView) int { return cmp.Compare(a.Deployment, b.Deployment) })
	return resp, err
}

// SelectorMatch names the devices that a Deployment with this selector would be on.
func (q *Server) SelectorMatch(ctx context.Context, req fleet.SelectorMatchRequest) (fleet.SelectorMatchResponse, error) {
	if err := invalid(req.Validate()); err != nil {
		return fleet.SelectorMatchResponse{}, err
	}
	matcher, err := selector.Compile(*req.Selector)
	if err != nil {
		return fleet.SelectorMatchResponse{}, invalid(err)
	}
	p := newPage[fleet.DeviceID](req.Page)
	fresh, err := scan(ctx, q.view, func(_ *projection.State, d projection.Device) {
		inScope := readable(d) && !d.Resource.Deleting && !d.Resource.Quarantined
		if inScope && matcher.Matches(d.Resource.Labels) && p.count(string(d.ID)) {
			p.add(d.ID)
		}
	})
	if err != nil {
		return fleet.SelectorMatchResponse{}, err
	}
	return fleet.SelectorMatchResponse{Freshness: fresh, Devices: p.items, Next: p.next, Total: p.total}, nil
}

// leastSummary is how many bytes a DeviceSummary takes at least, so that no more of them are gathered than can be sent.
const leastSummary = len(`{"name":"a","state":"Fresh"}`)

// DevicesSummary lists all devices in short.
func (q *Server) DevicesSummary(ctx context.Context, req fleet.DevicesSummaryRequest) (fleet.DevicesSummaryResponse, error) {
	resp := fleet.DevicesSummaryResponse{Items: []fleet.DeviceSummary{}}
	more := false
	fresh, err := scan(ctx, q.view, func(s *projection.State, d projection.Device) {
		if !shown(d) {
			return
		}
		resp.Total++
		switch {
		case string(d.ID) <= req.After:
		case len(resp.Items) > budget/leastSummary:
			more = true
		default:
			resp.Items = append(resp.Items, fleet.DeviceSummary{Name: d.ID, State: d.State(), Class: gravest(s.ClassesOn(d.ID))})
		}
	})
	if err != nil {
		return fleet.DevicesSummaryResponse{}, err
	}
	resp.Freshness = fresh
	all := len(resp.Items)
	if resp.Items, err = fit(resp.Items, budget); err != nil {
		return fleet.DevicesSummaryResponse{}, err
	}
	if n := len(resp.Items); more || n < all {
		resp.Next = string(resp.Items[n-1].Name)
	}
	return resp, nil
}

// gravest returns the class that needs a look most, "" when there is none.
func gravest(classes iter.Seq[fleet.Class]) (worst fleet.Class) {
	for c := range classes {
		if worst == "" || concern(c) < concern(worst) {
			worst = c
		}
	}
	return worst
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// shown reports whether a device is one for people: not only a tombstone or a left-over key.
func shown(d projection.Device) bool { return d.Registered || d.Known || d.Desired > 0 }

func deviceView(s *projection.State, d projection.Device) fleet.DeviceView {
	v := fleet.DeviceView{
		Name: d.ID, Registered: d.Registered, State: d.State(), Labels: labels(d), Deployments: d.Desired, Class: gravest(s.ClassesOn(d.ID)),
	}
	if d.Known {
		at := d.LastSeen
		v.LastSeen = &at
	}
	if d.Registered {
		v.UID, v.Deleting, v.Quarantined = d.Resource.UID, d.Resource.Deleting, d.Resource.Quarantined
		v.Inventory, v.Agent = d.Resource.Status.Inventory, d.Resource.Status.AgentVersion
	}
	if d.Info != nil {
		v.Inventory, v.Agent = d.Info.Inventory, d.Info.AgentVersion
	}
	return v
}

// readable reports whether the mirror shows the Device resource, and not only that there is one.
func readable(d projection.Device) bool { return d.Registered && d.Resource.Invalid == "" }

// labels returns what selectors see, or would see once the device is registered and can be read.
func labels(d projection.Device) map[string]string {
	switch {
	case readable(d):
		return d.Resource.Labels
	case d.Info != nil:
		return d.Info.Labels
	}
	return nil
}
