package query

import (
	"context"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/explain"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/view"
)

// DeviceExplain says why a device runs or does not run a Deployment.
func (q *Server) DeviceExplain(ctx context.Context, req fleet.DeviceExplainRequest) (fleet.DeviceExplainResponse, error) {
	if err := invalid(req.Validate()); err != nil {
		return fleet.DeviceExplainResponse{}, err
	}
	return answer(ctx, q.view, func(s *projection.State, m view.Moment) (fleet.DeviceExplainResponse, error) {
		in := explainInput(s, req.Device, req.Deployment)
		return fleet.DeviceExplainResponse{Freshness: freshness(m), Explanation: explain.Explain(in)}, nil
	})
}

// DeviceVerdicts says why a device runs or does not run each Deployment.
func (q *Server) DeviceVerdicts(ctx context.Context, req fleet.DeviceVerdictsRequest) (fleet.DeviceVerdictsResponse, error) {
	if err := invalid(req.Validate()); err != nil {
		return fleet.DeviceVerdictsResponse{}, err
	}
	p := newPage[fleet.DeviceVerdict](req.Page)
	fresh, err := answer(ctx, q.view, func(s *projection.State, m view.Moment) (fleet.Freshness, error) {
		for _, name := range s.DeploymentNames() {
			in := explainInput(s, req.Device, name)
			if (in.Deployment.Registered || in.Pair.Desired) && p.count(string(name)) {
				p.add(fleet.DeviceVerdict{Deployment: name, Explanation: explain.Explain(in)})
			}
		}
		return freshness(m), nil
	})
	if err != nil {
		return fleet.DeviceVerdictsResponse{}, err
	}
	if err := p.fit(); err != nil {
		return fleet.DeviceVerdictsResponse{}, err
	}
	return fleet.DeviceVerdictsResponse{Freshness: fresh, Items: p.items, Next: p.next, Total: p.total}, nil
}

// DeploymentExplain says how a Deployment stands on all devices.
func (q *Server) DeploymentExplain(ctx context.Context, req fleet.DeploymentExplainRequest) (fleet.DeploymentExplainResponse, error) {
	if err := invalid(req.Validate()); err != nil {
		return fleet.DeploymentExplainResponse{}, err
	}
	resp, err := answer(ctx, q.view, func(s *projection.State, m view.Moment) (resp fleet.DeploymentExplainResponse, err error) {
		d, ok := s.Deployment(req.Deployment)
		if !ok || !d.Registered && d.Aggregate.MatchedDeviceCount == 0 {
			return resp, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no deployment %s", req.Deployment)
		}
		resp.Deployment = deploymentView(d, m)
		resp.Hold, _ = s.Hold()
		return resp, nil
	})
	if err != nil {
		return resp, err
	}
	var groups explain.Groups
	resp.Freshness, err = scan(ctx, q.view, func(s *projection.State, d projection.Device) {
		if shown(d) {
			groups.Add(explainInput(s, d.ID, req.Deployment))
		}
	})
	resp.Groups = groups.List()
	return resp, err
}

// explainInput returns what is known of a device and a Deployment.
func explainInput(s *projection.State, id fleet.DeviceID, name fleet.DeploymentName) explain.Input {
	var in explain.Input
	in.Device, _ = s.Device(id)
	in.Deployment, _ = s.Deployment(name)
	in.Pair, _ = s.Pair(fleet.Pair{Device: id, Deployment: name})
	in.Device.ID, in.Deployment.Name = id, name
	in.Hold, _ = s.Hold()
	return in
}
