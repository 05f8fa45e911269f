package kv

import (
	"testing"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet/fleettest"
)

// natsServers is one server or a cluster.
type natsServers interface {
	Conn(t testing.TB, opts ...nats.Option) *nats.Conn
	URL() string
}

// setup is where a claim is tested.
type setup struct {
	natsServers
	prov Provisioning
}

// servers starts one node and three nodes: claims that the package relies on must hold on both.
func servers(t *testing.T) map[string]setup {
	t.Helper()
	return map[string]setup{
		"one node":    {fleettest.NATS(t), prov()},
		"three nodes": {fleettest.Cluster(t, 3), prov3()},
	}
}

// remote is a server behind a proxy.
type remote struct{ url string }

func (r *remote) Conn(t testing.TB) *nats.Conn {
	t.Helper()
	return fleettest.Connect(t, r.url)
}
