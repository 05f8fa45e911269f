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
	var inputs []explain.Input
	fresh, err := answer(ctx, q.view, func(s *projection.State, m view.Moment) (fleet.Freshness, error) {
		for _, name := range s.DeploymentNames() {
			in := explainInput(s, req.Device, name)
			if (in.Deployment.Registered || in.Pair.Desired) && p.count(string(name)) {
				inputs = append(inputs, in)
			}
		}
		return freshness(m), nil
	})
	if err != nil {
		return fleet.DeviceVerdictsResponse{}, err
	}
	for _, in := range inputs {
		p.add(fleet.DeviceVerdict{Deployment: in.Deployment.Name, Explanation: explain.Explain(in)})
	}
	if err := p.fit(); err != nil {
		return fleet.DeviceVerdictsResponse{}, err
	}
	return fleet.DeviceVerdictsResponse{Freshness: fresh, Items: p.items, Next: p.next, Total: p.total}, nil
}

// explainChunk is how many devices are gathered while the view is locked, to be judged without the lock: what is known of
// one takes more time and room than a look at it.
const explainChunk = 512

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
	inputs := make([]explain.Input, 0, explainChunk)
	resp.Freshness, err = scanBy(ctx, q.view, explainChunk, func(s *projection.State, d projection.Device) {
		if shown(d) {
			inputs = append(inputs, explainInput(s, d.ID, req.Deployment))
		}
	}, func() {
		for _, in := range inputs {
			groups.Add(in)
		}
		inputs = inputs[:0]
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
