package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/rpc"
)

// stuck is a log that takes nothing until it is freed.
type stuck struct {
	free chan struct{}
	buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.free
	return s.buffer.Write(p)
}

// A process that cannot write its log keeps a bounded number of requests, and serves again afterwards.
func TestServe_KeepsFewRequestsUnread(t *testing.T) {
	type start func(t *testing.T, nc *nats.Conn, cfg rpc.Config) (subject string)
	answer := func(context.Context, echoRequest) (echoResponse, error) { return echoResponse{}, nil }
	for name, begin := range map[string]start{
		"endpoint": func(t *testing.T, nc *nats.Conn, cfg rpc.Config) string {
			s, err := rpc.NewServer(nc, cfg)
			if err != nil {
				t.Fatal(err)
			}
			ep := endpoint("echo", fleet.RoleQuery)
			if err := rpc.Handle(s, ep, answer); err != nil {
				t.Fatal(err)
			}
			return ep.Subject
		},
		"subscription": func(t *testing.T, nc *nats.Conn, cfg rpc.Config) string {
			const subject = "test.plain"
			_, err := rpc.Subscribe(nc, subject, cfg, func(ctx context.Context, _ string, req echoRequest) (echoResponse, error) { return answer(ctx, req) })
			if err != nil {
				t.Fatal(err)
			}
			return subject
		},
	} {
		t.Run(name, func(t *testing.T) {
			ns := fleettest.NATS(t)
			log := &stuck{free: make(chan struct{})}
			logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			nc := ns.Conn(t, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { logger.Warn("nats", "err", err) }))
			cfg := config(t)
			cfg.Workers, cfg.Queue = 1, 1
			cfg.Log = logger
			subject := begin(t, nc, cfg)
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			caller := ns.Conn(t)
			for range 5000 {
				if err := caller.PublishRequest(subject, "_INBOX.nobody", []byte("?")); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(caller.FlushTimeout(within), nc.FlushTimeout(within)); err != nil {
				t.Fatal(err) // now nc has got them all
			}
			close(log.free)
			fleettest.Eventually(t, within, "it serves again", func() bool {
				m, err := caller.Request(subject, []byte(`{"text":"x"}`), time.Second)
				return err == nil && m.Header.Get("Nats-Service-Error-Code") == ""
			})
			if !strings.Contains(log.String(), nats.ErrSlowConsumer.Error()) {
				t.Error("no request was dropped")
			}
			if n := strings.Count(log.String(), "micro subscription"); n > 1 {
				t.Errorf("%d lines tell of dropped requests", n)
			}
		})
	}
}
