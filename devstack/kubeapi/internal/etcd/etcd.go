// Package etcd runs the store: a single-member etcd inside this process.
//
// It listens on one unix socket in its own directory, which is closed to other users, so it needs no
// certificates; and since it has no peers, it listens nowhere else.
package etcd

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A member alone elects itself after one election timeout at the latest: short ticks make a quick start.
const (
	tickMillis     = 20
	electionMillis = 200
)

// Config tells where the store lives.
type Config struct {
	Dir      string // short, for the socket's path in it: the operating system limits that to about 100 bytes
	Fsync    bool   // false: an acknowledged write may be lost with the machine, not with the process
	Log      io.Writer
	LogLevel string // error, warn, info or debug
}

// Server is a running store.
type Server struct {
	etcd     *embed.Etcd
	endpoint url.URL
	logLevel zap.AtomicLevel
}

// Start returns when the store serves.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if err := ensurePrivate(cfg.Dir); err != nil {
		return nil, err
	}
	level, err := logLevel(cfg.LogLevel)
	if err != nil {
		return nil, err
	}
	endpoint := url.URL{Scheme: "unix", Opaque: filepath.Join(cfg.Dir, "sock")}

	c := embed.NewConfig()
	c.Dir = filepath.Join(cfg.Dir, "data")
	c.ListenPeerUrls = nil
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: endpoint.Opaque}}
	c.AdvertiseClientUrls = []url.URL{endpoint}
	c.TickMs, c.ElectionMs = tickMillis, electionMillis
	c.UnsafeNoFsync = !cfg.Fsync
	c.EnableGRPCGateway = false
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newLogger(cfg.Log, level))

	server, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("starting etcd: %w", err)
	}
	s := &Server{etcd: server, endpoint: endpoint, logLevel: level}
	select {
	case <-server.Server.ReadyNotify():
		return s, nil
	case err = <-server.Err():
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.Close()
	return nil, fmt.Errorf("starting etcd: %w", err)
}

// Endpoint is what a client connects to.
func (s *Server) Endpoint() string { return s.endpoint.String() }

// Err yields an error when the store ends by itself.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close ends the store, once its clients are gone.
func (s *Server) Close() {
	// it takes the closing of its own listeners for errors
	s.logLevel.SetLevel(zapcore.FatalLevel)
	s.etcd.Close()
}

func ensurePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating etcd's directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("closing etcd's directory to others: %w", err)
	}
	return nil
}

// logLevel is one step quieter than the name says, at most: etcd warns of a slow disk and of being alone.
func logLevel(name string) (zap.AtomicLevel, error) {
	level, err := zapcore.ParseLevel(name)
	if err != nil {
		return zap.AtomicLevel{}, fmt.Errorf("reading the log level: %w", err)
	}
	return zap.NewAtomicLevelAt(min(level+1, zapcore.ErrorLevel)), nil
}

func newLogger(out io.Writer, level zapcore.LevelEnabler) *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level)).Named("etcd")
}
