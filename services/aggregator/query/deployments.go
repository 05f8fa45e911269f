package query

import (
	"cmp"
	"context"
	"slices"

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
	return answer(ctx, q.view, func(s *projection.State, m view.Moment) (fleet.DeploymentsListResponse, error) {
		p := newPage[fleet.DeploymentView](req.Page)
		for _, name := range after(s.DeploymentNames(), req.After) {
			if d, ok := s.Deployment(name); ok && d.Registered && p.count(string(name)) {
				p.add(deploymentView(d, m))
			}
			if p.next != "" {
				break
			}
		}
		return fleet.DeploymentsListResponse{Freshness: freshness(m), Items: p.items, Next: p.next}, nil
	})
}

// DeploymentsGet returns one Deployment with the pairs that need a look.
func (q *Server) DeploymentsGet(ctx context.Context, req fleet.GetRequest) (fleet.DeploymentsGetResponse, error) {
	name := fleet.DeploymentName(req.Name)
	if err := invalid(name.Validate()); err != nil {
		return fleet.DeploymentsGetResponse{}, err
	}
	return answer(ctx, q.view, func(s *projection.State, m view.Moment) (fleet.DeploymentsGetResponse, error) {
		d, ok := s.Deployment(name)
		if !ok || !d.Registered {
			return fleet.DeploymentsGetResponse{}, fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no deployment %s", name)
		}
		resp := fleet.DeploymentsGetResponse{Freshness: freshness(m), Deployment: deploymentView(d, m)}
		resp.Pairs, resp.Truncated = worst(s, name)
		return resp, nil
	})
}

func deploymentView(d projection.Deployment, m view.Moment) fleet.DeploymentView {
	return fleet.DeploymentView{
		Name: d.Name, UID: d.UID, Generation: d.Generation, Deleting: d.Deleting,
		TargetSelector: d.Selector, ScoreType: d.ScoreType, Status: status.Of(d, m.Verdict.Silent),
	}
}

// worst returns the desired pairs of a Deployment, those that need a look first.
func worst(s *projection.State, name fleet.DeploymentName) (pairs []fleet.PairView, truncated bool) {
	type rank struct {
		concern int
		device  fleet.DeviceID
	}
	var ranks []rank // of all of them; only those that are shown are made a view
	for id, class := range s.ClassesFor(name) {
		ranks = append(ranks, rank{concern(class), id})
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		return cmp.Or(cmp.Compare(a.concern, b.concern), cmp.Compare(a.device, b.device))
	})
	shown := ranks[:min(len(ranks), fleet.MaxLimit)]
	pairs = make([]fleet.PairView, 0, len(shown))
	for _, r := range shown {
		p, _ := s.Pair(fleet.Pair{Device: r.device, Deployment: name})
		pairs = append(pairs, p.PairView)
	}
	return pairs, len(ranks) > len(shown)
}

func concern(c fleet.Class) int {
	switch c {
	case fleet.ClassFailed:
		return 0
	case fleet.ClassStale:
		return 1
	case fleet.ClassPending:
		return 2
	case fleet.ClassRunning:
	}
	return 3
}
