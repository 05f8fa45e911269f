package acting

import (
	"context"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
)

// All requests about a resource take turns, whichever endpoint they come by.
func TestHandler_OneRequestAtATimeForEachResource(t *testing.T) {
	yes := func() bool { return true }
	h := NewHandler(Config{Holding: yes, Ready: yes})
	from := fleet.Sender{Service: fleet.ServiceReconciler, Epoch: 1}
	aggregator := fleet.Sender{Service: fleet.ServiceAggregator, Epoch: 1}
	release := func(kind string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := h.ReleaseFinalizer(ctx, fleet.FinalizerReleaseRequest{Sender: from, Kind: kind, Name: "x", Finalizer: fleet.FinalizerDesiredState})
			return err
		}
	}
	tests := []struct {
		name string
		kind kube.Kind
		call func(context.Context) error
	}{
		{"status.apply", kube.Deployments, func(ctx context.Context) error {
			_, err := h.ApplyStatus(ctx, fleet.StatusApplyRequest{Sender: aggregator, Deployment: "x"})
			return err
		}},
		{"finalizer.release of a Deployment", kube.Deployments, release(fleet.KindDeployment)},
		{"device.apply", kube.Devices, func(ctx context.Context) error {
			_, err := h.ApplyDevice(ctx, fleet.DeviceApplyRequest{Sender: aggregator, Device: "x"})
			return err
		}},
		{"finalizer.release of a Device", kube.Devices, release(fleet.KindDevice)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			end := h.turn(tt.kind, "x")
			answered := make(chan error, 1)
			go func() { answered <- tt.call(t.Context()) }()
			select {
			case err := <-answered:
				end()
				t.Fatalf("handled out of turn: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			end()
			if err := <-answered; fleet.CodeOf(err) != fleet.CodeInvalid { // nobody has an epoch here
				t.Errorf("got %v", err)
			}
		})
	}
}
