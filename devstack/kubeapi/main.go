// Kubeapi is a real Kubernetes API in one process: the generic control plane of Kubernetes (namespaces,
// RBAC, custom resources, secrets, events, leases; no workloads) on an embedded etcd, with the three
// controllers an API is incomplete without.
//
//	etcd ◀──unix socket── extensions ◀─ kube ◀─ aggregator ◀──HTTPS── clients
//	                                                ▲
//	                 controllers: namespaces, garbage, aggregated roles
//
// Everything it keeps is below --data-dir: the store in DIR/etcd, and the certificates and keys in
// DIR/pki. Both survive SIGKILL, so a kubeconfig written once is good for as long as its directory lives and the
// server is started on the same port. One process at a time owns a directory, by a lock on it.
//
// Standard output carries one line, when everything is served; everything else goes to standard error:
//
//	{"ready":true,"url":"https://127.0.0.1:6443","kubeconfig":"/path/to/kubeconfig"}
//
// It ends on SIGTERM and SIGINT, and with --exit-with-parent also when standard input ends: a parent
// that is killed leaves no server behind.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args, os.Getenv, os.Stdout, os.Stderr))
}
