package scenarios

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// fold is what the fleet is according to the streams alone, read directly: which pairs are desired, and what
// the last report in the stream says of each. It shares no code with the operator. No device is stale.
type fold struct {
	pairs  map[string]string // "dev-0001.web" to what it counts as, and why
	counts map[string][5]int // by Deployment
}

// foldOf reads the streams.
func foldOf(ctx context.Context, s *lab.Stack) (fold, error) {
	f := fold{pairs: map[string]string{}, counts: map[string][5]int{}}
	desired, err := s.NATS.Keys(ctx, fleet.BucketDesiredState)
	if err != nil {
		return f, err
	}
	reports, err := s.NATS.Keys(ctx, fleet.BucketDeviceState)
	if err != nil {
		return f, err
	}
	for pair, value := range desired {
		var report struct{ Phase, ObservedHash, LastEventAt string }
		last, reported := reports["state."+pair]
		if reported {
			if err := json.Unmarshal([]byte(last.Value), &report); err != nil {
				return f, fmt.Errorf("read the report of %s: %w", pair, err)
			}
		}
		sum := sha256.Sum256([]byte(value.Value))
		class := "pending"
		if report.ObservedHash == hex.EncodeToString(sum[:]) {
			class = strings.ToLower(report.Phase)
		}
		f.pairs[pair] = describe(class, report.Phase, report.ObservedHash, report.LastEventAt)
		_, deployment, _ := strings.Cut(pair, ".")
		n := f.counts[deployment]
		n[0]++
		n[map[string]int{"running": 1, "failed": 2, "pending": 3}[class]]++
		f.counts[deployment] = n
	}
	return f, nil
}

func describe(class, phase, hash, at string) string {
	return fmt.Sprintf("%s, reported %q %s at %q", class, phase, hash, at)
}

// projectionOf asks the aggregator for the same.
func projectionOf(ctx context.Context, s *lab.Stack) (pairs map[string]string, counts map[string][5]int, err error) {
	pairs, counts = map[string]string{}, map[string][5]int{}
	deployments, err := rpc.Call[fleet.DeploymentsListRequest, fleet.DeploymentsListResponse](ctx, s.Conn(), fleet.DeploymentsList, fleet.DeploymentsListRequest{})
	if err != nil || !deployments.Synced || deployments.Next != "" {
		return nil, nil, errors.Join(err, fmt.Errorf("deployments: synced %t, %d and more %q", deployments.Synced, len(deployments.Items), deployments.Next))
	}
	for _, d := range deployments.Items {
		counts[string(d.Name)] = countsOf(d.Status.Aggregate)
	}
	req := fleet.DevicesListRequest{Page: fleet.Page{Limit: fleet.MaxLimit}}
	devices, err := rpc.Call[fleet.DevicesListRequest, fleet.DevicesListResponse](ctx, s.Conn(), fleet.DevicesList, req)
	if err != nil || !devices.Synced || devices.Next != "" {
		return nil, nil, errors.Join(err, fmt.Errorf("devices: synced %t, %d and more %q", devices.Synced, len(devices.Items), devices.Next))
	}
	for _, d := range devices.Items {
		one, err := rpc.Call[fleet.GetRequest, fleet.DevicesGetResponse](ctx, s.Conn(), fleet.DevicesGet, fleet.GetRequest{Name: string(d.Name)})
		if err != nil {
			return nil, nil, err
		}
		for _, p := range one.Pairs {
			pairs[string(p.Device)+"."+string(p.Deployment)] = describe(string(p.Class), string(p.Phase), p.ObservedHash, p.LastEventAt)
		}
	}
	return pairs, counts, nil
}

// folded returns why the projection, or a status, is not the fold of the streams.
func folded(ctx context.Context, s *lab.Stack) error {
	want, err := foldOf(ctx, s)
	if err != nil {
		return err
	}
	pairs, counts, err := projectionOf(ctx, s)
	if err != nil {
		return err
	}
	wrong := append(lab.Changed("pair ", want.pairs, pairs), lab.Changed("counts of ", want.counts, counts)...)
	for name, n := range want.counts {
		status, _, err := s.API.Status(ctx, name)
		if err != nil {
			return err
		}
		if got := countsOf(status.Aggregate); got != n {
			wrong = append(wrong, fmt.Sprintf("the status of %s says %v, the streams %v", name, got, n))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d differences: %q", len(wrong), wrong[:min(len(wrong), 5)])
	}
	return nil
}
