package main

import (
	"slices"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/aggregator/explain"
)

func ask[Req, Resp any](r *rig, ep fleet.Endpoint, req Req) Resp {
	r.t.Helper()
	resp, err := rpc.Call[Req, Resp](r.ctx, r.nc, ep, req)
	if err != nil {
		r.t.Fatalf("%s: %v", ep.Subject, err)
	}
	return resp
}

func TestQuery_Answers(t *testing.T) {
	r := newRig(t)
	r.acting("a1")
	ids := r.fleetOf(5)
	r.registered(ids[:4]...)
	value := r.running("web", ids[:3]...)
	r.running("api", ids[0])
	r.report(ids[1], "web", fleet.PhaseFailed, value)
	r.eventually("the failure counts", func() bool { return r.patcher.shown("web").Aggregate.Failed == 1 })

	t.Run("deployments.list", func(t *testing.T) {
		first := ask[fleet.DeploymentsListRequest, fleet.DeploymentsListResponse](r, fleet.DeploymentsList, fleet.DeploymentsListRequest{Page: fleet.Page{Limit: 1}})
		if len(first.Items) != 1 || first.Items[0].Name != "api" || first.Next != "api" || !first.Synced || first.AsOf.IsZero() {
			t.Errorf("%+v", first)
		}
		second := ask[fleet.DeploymentsListRequest, fleet.DeploymentsListResponse](r, fleet.DeploymentsList, fleet.DeploymentsListRequest{Page: fleet.Page{Limit: 1, After: first.Next}})
		if len(second.Items) != 1 || second.Items[0].Name != "web" || second.Next != "" || second.Items[0].Status.Aggregate.Failed != 1 {
			t.Errorf("%+v", second)
		}
	})
	t.Run("deployments.get", func(t *testing.T) {
		got := ask[fleet.GetRequest, fleet.DeploymentsGetResponse](r, fleet.DeploymentsGet, fleet.GetRequest{Name: "web"})
		if len(got.Pairs) != 3 || got.Pairs[0].Device != ids[1] || got.Pairs[0].LastError != "no image" || got.Pairs[0].DesiredHash != fleet.Hash(value) || got.Truncated {
			t.Errorf("%+v", got)
		}
		if got.Deployment.ScoreType != "container" || got.Deployment.TargetSelector.MatchLabels["region"] != "north" {
			t.Errorf("%+v", got.Deployment)
		}
		_, err := rpc.Call[fleet.GetRequest, fleet.DeploymentsGetResponse](r.ctx, r.nc, fleet.DeploymentsGet, fleet.GetRequest{Name: "none"})
		if fleet.CodeOf(err) != fleet.CodeNotFound {
			t.Errorf("error %v", err)
		}
	})
	t.Run("devices.list", func(t *testing.T) {
		all := ask[fleet.DevicesListRequest, fleet.DevicesListResponse](r, fleet.DevicesList, fleet.DevicesListRequest{Page: fleet.Page{Limit: 2, After: "dev-1"}})
		if all.Total != 5 || len(all.Items) != 2 || all.Items[0].Name != "dev-2" || all.Next != "dev-3" {
			t.Errorf("%+v", all)
		}
		on := ask[fleet.DevicesListRequest, fleet.DevicesListResponse](r, fleet.DevicesList, fleet.DevicesListRequest{
			Deployment: "web", State: fleet.DeviceFresh, Selector: &fleet.Selector{MatchLabels: map[string]string{"region": "north"}},
		})
		if on.Total != 3 || on.Items[0].Deployments != 2 || !on.Items[0].Registered || on.Items[0].Inventory["model"] != "pi" || on.Items[0].LastSeen == nil {
			t.Errorf("%+v", on)
		}
		_, err := rpc.Call[fleet.DevicesListRequest, fleet.DevicesListResponse](r.ctx, r.nc, fleet.DevicesList, fleet.DevicesListRequest{State: "Sleepy"})
		if fleet.CodeOf(err) != fleet.CodeInvalid {
			t.Errorf("error %v", err)
		}
	})
	t.Run("devices.get", func(t *testing.T) {
		got := ask[fleet.GetRequest, fleet.DevicesGetResponse](r, fleet.DevicesGet, fleet.GetRequest{Name: "dev-1"})
		if len(got.Pairs) != 2 || got.Pairs[0].Deployment != "api" || got.Pairs[1].Class != fleet.ClassRunning {
			t.Errorf("%+v", got)
		}
		other := ask[fleet.GetRequest, fleet.DevicesGetResponse](r, fleet.DevicesGet, fleet.GetRequest{Name: "dev-5"})
		if other.Device.Registered || other.Device.State != fleet.DeviceFresh || len(other.Pairs) != 0 {
			t.Errorf("a device with heartbeats only: %+v", other)
		}
	})
	t.Run("selector.match", func(t *testing.T) {
		got := ask[fleet.SelectorMatchRequest, fleet.SelectorMatchResponse](r, fleet.SelectorMatch, fleet.SelectorMatchRequest{
			Page: fleet.Page{Limit: 3}, Selector: &fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: "region", Operator: "Exists"}}},
		})
		if got.Total != 4 || !slices.Equal(got.Devices, ids[:3]) || got.Next != "dev-3" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("device.explain", func(t *testing.T) {
		for device, want := range map[fleet.DeviceID]string{
			"dev-1": explain.Running, "dev-2": explain.Failed, "dev-4": explain.Applying, "dev-5": explain.NotRegistered, "dev-9": explain.NotRegistered,
		} {
			got := ask[fleet.DeviceExplainRequest, fleet.DeviceExplainResponse](r, fleet.DeviceExplain, fleet.DeviceExplainRequest{Device: device, Deployment: "web"})
			if got.Verdict != want || got.Message == "" || len(got.Facts) == 0 {
				t.Errorf("%s: %+v", device, got)
			}
		}
	})
	t.Run("device.verdicts", func(t *testing.T) {
		got := ask[fleet.DeviceVerdictsRequest, fleet.DeviceVerdictsResponse](r, fleet.DeviceVerdicts, fleet.DeviceVerdictsRequest{Device: "dev-2", Page: fleet.Page{Limit: 1, After: "api"}})
		if len(got.Items) != 1 || got.Items[0].Deployment != "web" || got.Items[0].Verdict != explain.Failed || got.Items[0].Pair == nil || got.Total < 2 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("deployment.explain", func(t *testing.T) {
		got := ask[fleet.DeploymentExplainRequest, fleet.DeploymentExplainResponse](r, fleet.DeploymentExplain, fleet.DeploymentExplainRequest{Deployment: "web"})
		if len(got.Groups) == 0 || got.Groups[0].Verdict != explain.Failed || !slices.Contains(got.Groups[0].Devices, "dev-2") || got.Deployment.Name != "web" {
			t.Errorf("%+v", got)
		}
		_, err := rpc.Call[fleet.DeploymentExplainRequest, fleet.DeploymentExplainResponse](r.ctx, r.nc, fleet.DeploymentExplain, fleet.DeploymentExplainRequest{Deployment: "nosuch"})
		if fleet.CodeOf(err) != fleet.CodeNotFound {
			t.Errorf("error %v", err)
		}
	})
	t.Run("devices.summary", func(t *testing.T) {
		got := ask[fleet.DevicesSummaryRequest, fleet.DevicesSummaryResponse](r, fleet.DevicesSummary, fleet.DevicesSummaryRequest{After: "dev-1"})
		want := map[fleet.DeviceID]fleet.Class{"dev-2": fleet.ClassFailed, "dev-5": ""}
		for _, d := range got.Items {
			if class, ok := want[d.Name]; ok && class != d.Class || d.Name == "dev-1" {
				t.Errorf("%+v", d)
			}
			delete(want, d.Name)
		}
		if len(want) > 0 || got.Total != len(got.Items)+1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestQuery_NotInView(t *testing.T) {
	r := newRig(t)
	r.deleteStream(fleet.BucketDesiredState)
	a := r.start("a1")
	r.eventually("it runs", func() bool { h := a.health(); return h.Instance != "" && len(h.Sources) == 5 && !h.Ready })
	_, err := rpc.Call[fleet.GetRequest, fleet.DevicesGetResponse](r.ctx, r.nc, fleet.DevicesGet, fleet.GetRequest{Name: "dev-1"})
	if fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Errorf("error %v", err)
	}
	r.never(200*time.Millisecond, "it takes the lease", func() bool { h := a.health(); return h.Lease != nil && h.Lease.Held })
}
