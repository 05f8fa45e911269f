// Package fleettest helps tests: real NATS servers inside the test process, a real Kubernetes API as
// a child of it, and polling with a deadline.
package fleettest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startTimeout bounds how long a server may take to accept connections.
const startTimeout = 20 * time.Second

// Option changes how a test server is configured.
type Option func(*server.Options)

// WithoutJetStream starts a server that has no JetStream.
func WithoutJetStream() Option { return func(o *server.Options) { o.JetStream = false } }

// WithOptions changes anything of the server's options.
func WithOptions(f func(*server.Options)) Option { return f }

// Server is a NATS server inside the test process, on a loopback port of its own.
type Server struct {
	t    testing.TB
	opts *server.Options
	srv  *server.Server
}

// NATS starts a server with JetStream. It ends with the test; its store is a temporary directory.
func NATS(t testing.TB, opts ...Option) *Server {
	t.Helper()
	o := &server.Options{
		ServerName: "nats-test", Host: "127.0.0.1", Port: server.RANDOM_PORT,
		NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	}
	for _, opt := range opts {
		opt(o)
	}
	s := &Server{t: t, opts: o}
	t.Cleanup(s.Shutdown)
	s.Start()
	return s
}

// URL returns the client URL: "nats://127.0.0.1:41234". It stays the same over Restart.
func (s *Server) URL() string { return s.srv.ClientURL() }

// StoreDir returns where the server keeps its streams.
func (s *Server) StoreDir() string { return s.opts.StoreDir }

// NATSServer returns the server itself, for faults that only it can make. Restart replaces it.
func (s *Server) NATSServer() *server.Server { return s.srv }

// Start starts a server that was shut down, on the same port and store.
func (s *Server) Start() {
	s.t.Helper()
	s.begin()
	s.await()
}

// begin starts without waiting: the nodes of a cluster need each other to become ready.
func (s *Server) begin() {
	s.t.Helper()
	srv, err := server.NewServer(s.opts.Clone())
	if err != nil {
		s.t.Fatalf("start a NATS server: %v", err)
	}
	s.srv = srv
	go srv.Start()
}

func (s *Server) await() {
	s.t.Helper()
	if !s.srv.ReadyForConnections(startTimeout) {
		s.t.Fatalf("the NATS server accepts no connections after %s", startTimeout)
	}
	if s.opts.Port == server.RANDOM_PORT {
		s.opts.Port = portOf(s.t, s.srv.Addr())
	}
}

// Shutdown stops the server and keeps its store.
func (s *Server) Shutdown() {
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
	}
}

// Restart stops the server and starts it again on the same port and store.
func (s *Server) Restart() {
	s.t.Helper()
	s.Shutdown()
	s.Start()
}

// CopyStore returns a copy of what a server that is shut down has stored, for RestoreStore.
func (s *Server) CopyStore() string {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "store")
	if err := os.CopyFS(dir, os.DirFS(s.opts.StoreDir)); err != nil {
		s.t.Fatalf("copy the store: %v", err)
	}
	return dir
}

// RestoreStore replaces what a server that is shut down has stored, as a roll-back from a backup does.
func (s *Server) RestoreStore(dir string) {
	s.t.Helper()
	if err := os.RemoveAll(s.opts.StoreDir); err != nil {
		s.t.Fatalf("remove the store: %v", err)
	}
	if err := os.CopyFS(s.opts.StoreDir, os.DirFS(dir)); err != nil {
		s.t.Fatalf("restore the store: %v", err)
	}
}

// Conn returns a connection with the settings that services use, closed with the test.
func (s *Server) Conn(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return Connect(t, s.URL(), opts...)
}

// Connect connects to any server with the settings that services use: it never gives up, notices a
// silent server within seconds and buffers nothing while it is down. It closes with the test.
func Connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	all := append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.RetryOnFailedConnect(true), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1),
	}, opts...)
	nc, err := nats.Connect(url, all...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}
