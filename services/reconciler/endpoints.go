package main

import (
	"context"
	"fmt"
	"sort"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
)

// serve adds the endpoints. Any synced replica answers the queries, the holder approves.
func (r *reconciler) serve(s *rpc.Server) error {
	s.ActWhile(func() bool { return r.elector.Term() != nil })
	if err := rpc.Handle(s, fleet.PlanShow, r.showPlan); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if err := rpc.Handle(s, fleet.TargetsList, r.listTargets); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if err := rpc.Handle(s, fleet.HoldApprove, r.holder.Approve); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// showPlan is the dry run. It may take as long as a plan does and holds the view meanwhile.
func (r *reconciler) showPlan(_ context.Context, req fleet.PlanShowRequest) (resp fleet.PlanShowResponse, err error) {
	err = r.query(func(s *plan.State, f fleet.Freshness) error {
		if !s.MirrorWhole() {
			f.Synced, f.Reason = false, "fleet-resources is not a whole mirror yet: nothing is planned"
		}
		var err error
		resp, err = s.Show(f.AsOf, req.Deployment, req.Candidate)
		resp.Freshness = f
		return err
	})
	return resp, err
}

func (r *reconciler) listTargets(_ context.Context, req fleet.TargetsListRequest) (resp fleet.TargetsListResponse, err error) {
	limit, err := limitOf(req.Page)
	if err != nil {
		return resp, err
	}
	err = r.query(func(s *plan.State, f fleet.Freshness) error {
		all, ok := s.Targets(req.Deployment)
		if !ok {
			return fleet.Errorf(fleet.CodeNotFound, "NotFound", "there is no Deployment %q", req.Deployment)
		}
		resp = pageOf(all, req.After, limit)
		resp.Freshness = f
		return nil
	})
	return resp, err
}

// query calls f with the state if both buckets are in view.
func (r *reconciler) query(f func(*plan.State, fleet.Freshness) error) (err error) {
	r.view.Do(func(s *plan.State, now view.Now) {
		if !now.Synced {
			err = fleet.Errorf(fleet.CodeUnavailable, "NotSynced", "this replica does not have both buckets in view: ask again")
			return
		}
		err = f(s, fleet.Freshness{AsOf: now.Time.UTC(), Synced: true})
	})
	return err
}

func limitOf(p fleet.Page) (int, error) {
	switch {
	case p.Limit == 0:
		return fleet.DefaultLimit, nil
	case p.Limit < 0 || p.Limit > fleet.MaxLimit:
		return 0, fleet.Errorf(fleet.CodeInvalid, "Limit", "limit must be 1 to %d", fleet.MaxLimit)
	}
	return p.Limit, nil
}

// pageOf returns the devices after a name; all are sorted.
func pageOf(all []fleet.DeviceID, after string, limit int) fleet.TargetsListResponse {
	from := sort.Search(len(all), func(i int) bool { return string(all[i]) > after })
	page := all[from:min(from+limit, len(all))]
	resp := fleet.TargetsListResponse{Devices: append([]fleet.DeviceID{}, page...), Total: len(all)}
	if from+len(page) < len(all) {
		resp.Next = string(page[len(page)-1])
	}
	return resp
}
