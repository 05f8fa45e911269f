package dashboard

import (
	"context"

	"github.com/nats-io/nats.go"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// allDeployments asks for all pages of Deployments.
func allDeployments(ctx context.Context, nc *nats.Conn) picture.Answer[[]fleet.DeploymentView] {
	return allPages(func(after string) ([]fleet.DeploymentView, string, fleet.Freshness, error) {
		req := fleet.DeploymentsListRequest{Page: fleet.Page{Limit: fleet.MaxLimit, After: after}}
		got, err := rpc.Call[fleet.DeploymentsListRequest, fleet.DeploymentsListResponse](ctx, nc, fleet.DeploymentsList, req)
		return got.Items, got.Next, got.Freshness, err
	})
}

// allDevices asks for all pages of devices, in short.
func allDevices(ctx context.Context, nc *nats.Conn) picture.Answer[[]fleet.DeviceSummary] {
	return allPages(func(after string) ([]fleet.DeviceSummary, string, fleet.Freshness, error) {
		req := fleet.DevicesSummaryRequest{After: after}
		got, err := rpc.Call[fleet.DevicesSummaryRequest, fleet.DevicesSummaryResponse](ctx, nc, fleet.DevicesSummary, req)
		return got.Items, got.Next, got.Freshness, err
	})
}

// allPages gathers the pages of a list, which can be trusted as far as the worst of them.
func allPages[T any](ask func(after string) (items []T, next string, fresh fleet.Freshness, err error)) (a picture.Answer[[]T]) {
	items, next, fresh, err := ask("")
	for a.Fresh = fresh; err == nil; items, next, fresh, err = ask(next) {
		a.Value, a.Fresh = append(a.Value, items...), a.Fresh.Join(fresh)
		if next == "" {
			return a
		}
	}
	return picture.Answer[[]T]{Err: err}
}
