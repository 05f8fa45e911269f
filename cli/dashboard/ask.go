package dashboard

import (
	"context"

	"github.com/nats-io/nats.go"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// allDeployments asks for all pages of Deployments.
func allDeployments(ctx context.Context, nc *nats.Conn) (a picture.Answer[[]fleet.DeploymentView]) {
	for after := ""; ; {
		req := fleet.DeploymentsListRequest{Page: fleet.Page{Limit: fleet.MaxLimit, After: after}}
		got, err := rpc.Call[fleet.DeploymentsListRequest, fleet.DeploymentsListResponse](ctx, nc, fleet.DeploymentsList, req)
		if err != nil {
			return picture.Answer[[]fleet.DeploymentView]{Err: err}
		}
		if a.Value = append(a.Value, got.Items...); after == "" {
			a.Fresh = got.Freshness
		}
		a.Fresh = a.Fresh.Join(got.Freshness)
		if after = got.Next; after == "" {
			return a
		}
	}
}

// allDevices asks for all pages of devices, in short.
func allDevices(ctx context.Context, nc *nats.Conn) (a picture.Answer[[]fleet.DeviceSummary]) {
	for after := ""; ; {
		req := fleet.DevicesSummaryRequest{After: after}
		got, err := rpc.Call[fleet.DevicesSummaryRequest, fleet.DevicesSummaryResponse](ctx, nc, fleet.DevicesSummary, req)
		if err != nil {
			return picture.Answer[[]fleet.DeviceSummary]{Err: err}
		}
		if a.Value = append(a.Value, got.Items...); after == "" {
			a.Fresh = got.Freshness
		}
		a.Fresh = a.Fresh.Join(got.Freshness)
		if after = got.Next; after == "" {
			return a
		}
	}
}
