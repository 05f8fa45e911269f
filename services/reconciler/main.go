// Command fleet-reconciler carries the wishes in fleet-resources into desired-state: for each
// Deployment one key per device in its scope, no more and no fewer.
//
//	plan    what is to be written: pure
//	view    both buckets as last seen, on every replica
//	holder  the one replica with the lease: plans, writes with the fence, answers devices
package main

import (
	"context"
	"os"

	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/service"
)

func main() {
	os.Exit(service.Main(context.Background(), os.Args, os.Getenv, os.Stdout, os.Stderr, spec()))
}

func spec() service.Spec {
	return service.Spec{
		Name:  fleet.ServiceReconciler,
		Usage: "carry Deployments into the desired state of devices",
		Flags: flags(),
		Check: func(c *cli.Context) error { _, err := parseOptions(c); return err },
		Setup: setup,
	}
}

func setup(_ context.Context, c *cli.Context, rt *service.Runtime) error {
	o, err := parseOptions(c)
	if err != nil {
		return err
	}
	server, err := rt.Server("carries Deployments into the desired state of devices")
	if err != nil {
		return err
	}
	r, err := newReconciler(parts{
		data: rt.Data, control: rt.Control, provisioning: rt.Provisioning, instance: rt.Instance,
		leaseTTL: rt.LeaseTTL, options: o, metrics: rt.Metrics, log: rt.Log,
	})
	if err != nil {
		return err
	}
	if err := r.serve(server); err != nil {
		return err
	}
	r.tell(rt.Health)
	for _, l := range r.loops(rt.Health) {
		rt.Go(l.name, l.run)
	}
	return nil
}
