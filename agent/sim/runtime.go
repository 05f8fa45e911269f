package sim

import (
	"context"
	"time"

	"harmony.dev/fleet"
)

// runtime pretends to run the workloads of one device. It implements [agent.Runtime].
type runtime struct {
	behaviour
	device fleet.DeviceID
}

// Apply implements [agent.Runtime].
func (r runtime) Apply(ctx context.Context, deployment fleet.DeploymentName, d fleet.Desired) error {
	o := r.apply(r.device, deployment, d)
	if err := wait(ctx, o.delay); err != nil {
		return err
	}
	return o.failure
}

// Remove implements [agent.Runtime].
func (r runtime) Remove(ctx context.Context, deployment fleet.DeploymentName) error {
	return wait(ctx, r.remove(r.device, deployment))
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
