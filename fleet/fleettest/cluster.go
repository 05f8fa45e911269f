package fleettest

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Nodes is a cluster of NATS servers inside the test process.
type Nodes struct {
	Servers []*Server
}

// Cluster starts n servers that form one JetStream cluster, and waits for its leader.
func Cluster(t testing.TB, n int, opts ...Option) *Nodes {
	t.Helper()
	ports := freePorts(t, n)
	routes := make([]string, n)
	for i, port := range ports {
		routes[i] = fmt.Sprintf("nats://127.0.0.1:%d", port)
	}
	c := &Nodes{}
	for i, port := range ports {
		o := &server.Options{
			ServerName: fmt.Sprintf("nats-test-%d", i+1), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "fleet-test", Host: "127.0.0.1", Port: port},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		}
		for _, opt := range opts {
			opt(o)
		}
		s := &Server{t: t, opts: o}
		t.Cleanup(s.Shutdown)
		s.begin()
		c.Servers = append(c.Servers, s)
	}
	for _, s := range c.Servers {
		s.await()
	}
	c.WaitLeader(t)
	return c
}

// URL returns the client URLs of all servers, separated by commas.
func (c *Nodes) URL() string {
	urls := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		urls[i] = s.URL()
	}
	return strings.Join(urls, ",")
}

// Conn returns a connection that knows all servers, closed with the test.
func (c *Nodes) Conn(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return Connect(t, c.URL(), opts...)
}

// WaitLeader waits until the cluster has a leader and all servers have joined it.
func (c *Nodes) WaitLeader(t testing.TB) {
	t.Helper()
	Eventually(t, startTimeout, "the JetStream cluster has a leader that knows all servers", func() bool {
		for _, s := range c.Servers {
			if s.srv.JetStreamIsLeader() {
				return len(s.srv.JetStreamClusterPeers()) == len(c.Servers)
			}
		}
		return false
	})
}

// StreamLeader returns the server that leads the stream, waiting until there is one.
func (c *Nodes) StreamLeader(t testing.TB, stream string) *Server {
	t.Helper()
	var leader *Server
	Eventually(t, startTimeout, "stream "+stream+" has a leader", func() bool {
		for _, s := range c.Servers {
			if s.srv.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
				leader = s
				return true
			}
		}
		return false
	})
	return leader
}

func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("find a free port: %v", err)
		}
		defer l.Close()
		ports[i] = portOf(t, l.Addr())
	}
	return ports
}

func portOf(t testing.TB, a net.Addr) int {
	t.Helper()
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		t.Fatalf("%v is no TCP address", a)
	}
	return tcp.Port
}
