package command

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"harmony.dev/agent/sim"
)

// Dial makes a connection in the way of services, see service.Connect: nil when ctx ended before.
type Dial func(ctx context.Context, name string) (nc *nats.Conn, watch func(context.Context) error, err error)

// DialError is an error of a [Dial]: what it was told leads to no connection.
type DialError struct{ error }

// Run simulates the devices over so many connections until ctx ends, or one fails. Began is called once they are set up.
func Run(ctx context.Context, cfg sim.Config, connections int, dial Dial, began func(sim.Config)) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range connections {
		nc, watch, err := dial(ctx, fmt.Sprintf("fleet-sim-%d", i+1))
		if err != nil {
			return DialError{err}
		}
		if nc == nil {
			return nil // told to end before there was anything
		}
		defer nc.Close()
		cfg.Conns = append(cfg.Conns, nc)
		group.Go(func() error { return watch(ctx) })
	}
	devices, err := sim.New(cfg)
	if err != nil {
		return err
	}
	began(cfg)
	group.Go(func() error { return devices.Run(ctx) })
	return group.Wait()
}

// Says names the devices: "24 devices dev-0001…dev-0024".
func Says(cfg sim.Config) string {
	return fmt.Sprintf("%d devices %s…%s", cfg.Devices, cfg.ID(0), cfg.ID(cfg.Devices-1))
}
