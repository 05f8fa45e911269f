package devstack

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet/service"
)

// startNATS runs a server with JetStream inside this process. Its store outlasts it.
func startNATS(dir string, port int) (*server.Server, error) {
	if port == 0 {
		port = server.RANDOM_PORT
	}
	opts := &server.Options{
		ServerName: "fleet-dev",
		Host:       "127.0.0.1",
		Port:       port,
		JetStream:  true,
		StoreDir:   filepath.Join(dir, "nats"),
		NoSigs:     true,
		LogFile:    filepath.Join(dir, "logs", "nats.log"),
		Logtime:    true,
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("set up the NATS server: %w", err)
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("the NATS server was not ready within 30 s: see %s", opts.LogFile)
	}
	return s, nil
}

// reachNATS says early, before anything is created anywhere, that a server cannot be reached.
func reachNATS(url string) error {
	nc, err := nats.Connect(url, nats.Name("fleet dev"), nats.Timeout(3*time.Second))
	if err != nil {
		return fmt.Errorf("connect to %s: %w: is the server running?", service.Redact(url), err)
	}
	nc.Close()
	return nil
}
