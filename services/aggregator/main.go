// fleet-aggregator folds what the devices report into the status of Deployments, registers devices, and
// answers questions about the fleet.
//
// It keeps nothing of its own: its view is rebuilt from the buckets, and every replica has one. The
// holder of the lease of fleet-leases also acts: see the packages view (what is known), projection,
// staleness, status, registry and garbage (what follows from it), acting and query (what is done with
// it).
package main

import (
	"context"
	"os"
	"time"

	"harmony.dev/fleet/service"
)

func main() {
	os.Exit(service.Main(context.Background(), os.Args, os.Getenv, os.Stdout, os.Stderr, spec(time.Now)))
}
