package query

import (
	"context"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/status"
	"harmony.dev/services/aggregator/view"
)

// DeploymentsList lists Deployments.
func (q *Server) DeploymentsList(ctx context.Context, req fleet.DeploymentsListRequest) (fleet.DeploymentsListResponse, error) {
	if err := invalid(req.Validate()); err != nil {
		return fleet.DeploymentsListResponse{}, err
	}
	p := newPage[fleet.DeploymentView](req.Page)
	fresh, err := answer(ctx, q.view, func(s *projection.State, m view.Moment) (fleet.Freshness, error) {
		for _, name := range after(s.DeploymentNames(), req.After) {
			if d, ok := s.Deployment(name); ok && d.Registered && p.count(string(name)) {
				p.add(deploymentView(d, m))
			}
			if p.next != "" {
				break
			}
		}
		return freshness(m), nil
	})
	if err != nil {
		return fleet.DeploymentsListResponse{}, err
	}
	if err := p.fit(); err != nil {
		return fleet.DeploymentsListResponse{}, err
	}
	return fleet.DeploymentsListResponse{Freshness: fresh, Items: p.items, Next: p.next}, nil
}

// DeploymentsGet returns one Deployment with the pairs that need a look.
func (q *Server) DeploymentsGet(ctx context.Context, req fleet.GetRequest) (fleet.DeploymentsGetResponse, error) {
	name := fleet.DeploymentName(req.Name)
	if err := invalid(name.Validate()); err != nil {
		return fleet.DeploymentsGetResponse{}, err
	}
	resp, err := answer(ctx, q.view, func(s *projection.State, m view.Moment) (fleet.DeploymentsGetResponse, error) {
		d, ok := s.Deployment(name)
		if !ok || !d.Registered {
			return fleet.DeploymentsGetResponse{}, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no deployment %s", name)
		}
		resp := fleet.DeploymentsGetResponse{Freshness: freshness(m), Deployment: deploymentView(d, m)}
		resp.Pairs, resp.Truncated = worst(s, name)
		resp.Changes = newest(s, d)
		return resp, nil
	})
	if err != nil {
		return resp, err
	}
	all := len(resp.Pairs)
	resp.Pairs, err = fitBeside(resp.Deployment, resp.Pairs)
	resp.Truncated = resp.Truncated || len(resp.Pairs) < all
	return resp, err
}

func deploymentView(d projection.Deployment, m view.Moment) fleet.DeploymentView {
	return fleet.DeploymentView{
		Name: d.Name, UID: d.UID, Generation: d.Generation, Deleting: d.Deleting,
		TargetSelector: d.Selector, ScoreType: d.ScoreType, Status: status.Of(d, m.Verdict.Silent),
	}
}
