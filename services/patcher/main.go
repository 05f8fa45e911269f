// Command fleet-patcher is the edge of Harmony Fleet to the Kubernetes API: the only process with
// Kubernetes credentials.
//
// It mirrors the custom resources into the bucket fleet-resources, for the other services to read, and
// writes down what they ask for: statuses, Devices, the release of finalizers, Events. It decides
// nothing.
//
//	apiserver ──list, watch──▶ kube ──▶ keeper ──fenced writes──▶ fleet-resources
//	apiserver ◀──writes─────── kube ◀── acting ◀──micro endpoints── reconciler, aggregator
//
// The packages mirror, status and device hold the decisions and are pure. keeper keeps the mirror while
// this replica holds the lease; acting answers requests; kube alone talks to the apiserver.
package main

import (
	"context"
	"os"

	"harmony.dev/fleet/service"
)

func main() {
	os.Exit(service.Main(context.Background(), os.Args, os.Getenv, os.Stdout, os.Stderr, spec()))
}
