package service

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
)

// Runtime is what a service's Setup gets.
type Runtime struct {
	Log          *slog.Logger
	Name         string          // of the service
	Instance     string          // of this process, unique
	Fleet        string          // the Kubernetes namespace
	Version      string          // of the binary
	Data         *nats.Conn      // desired-state, device-*, and what devices may ask
	Control      *nats.Conn      // fleet-resources, fleet-leases, micro endpoints
	Provisioning kv.Provisioning // of the buckets that the service owns
	LeaseTTL     time.Duration   // how long a lease lasts unless renewed
	Health       *Health         // tell it what the service reads and waits for
	Metrics      prometheus.Registerer

	group *group
}

// Go runs f as a long-lived goroutine until its context is done. A panic in it, or a return before
// that, is a bug and ends the process with exit code 1 within 5 s.
func (rt *Runtime) Go(name string, f func(ctx context.Context) error) { rt.group.start(name, f) }

// Server returns a micro server on the control connection, with the health endpoint on it. The runtime
// runs it: add endpoints with [rpc.Handle].
func (rt *Runtime) Server(description string) (*rpc.Server, error) {
	s, err := rpc.NewServer(rt.Control, rpc.Config{
		Service: rt.Name, Instance: rt.Instance, Version: rt.Version, Description: description,
		Metadata: map[string]string{"fleet": rt.Fleet},
		Log:      rt.Log,
	})
	if err != nil {
		return nil, err
	}
	health := func(context.Context, HealthRequest) (fleet.Health, error) {
		rt.group.faults.hit(pointEndpoint)
		return rt.Health.Snapshot(), nil
	}
	if err := rpc.Handle(s, fleet.HealthEndpoint(rt.Name), health); err != nil {
		return nil, fmt.Errorf("serve health: %w", err)
	}
	rt.Health.addServer(s.Stopped)
	rt.Go("micro", s.Run)
	return s, nil
}

// HealthRequest asks a service's health endpoint.
type HealthRequest struct{}
