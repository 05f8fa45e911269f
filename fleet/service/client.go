package service

import (
	"context"
	"log/slog"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"
)

// ClientFlags are the common flags that make sense for a program which is no service, such as the
// simulator: how to reach NATS, how to log, and when to end.
func ClientFlags() []cli.Flag {
	names := []string{"nats-url", "nats-context", "nats-creds", "log-format", "log-level", "exit-with-parent"}
	return slices.DeleteFunc(commonFlags(), func(f cli.Flag) bool { return !slices.Contains(names, f.Names()[0]) })
}

// Connect connects a client with what [ClientFlags] say, in the way of services: it never gives up, sees
// a dead server within seconds and buffers nothing. The connection may be down at first; it is nil only
// when ctx ended before. watch logs how it is until the ctx given to it is done.
func Connect(ctx context.Context, c *cli.Context, name string, log *slog.Logger) (nc *nats.Conn, watch func(context.Context) error, err error) {
	at := Server{URL: c.String("nats-url"), Context: c.String("nats-context"), Creds: c.String("nats-creds")}
	return ConnectTo(ctx, at, name, log)
}

// Server is how to reach NATS: by the context when there is one, else by the URL. Creds is a credentials file, or "".
type Server struct{ URL, Context, Creds string }

// ConnectTo is [Connect] with a server that was found in another way.
func ConnectTo(ctx context.Context, at Server, name string, log *slog.Logger) (nc *nats.Conn, watch func(context.Context) error, err error) {
	if at.Context == "" {
		if err := CheckURL("--nats-url", at.URL); err != nil {
			return nil, nil, err
		}
	}
	l := newLink("data", name, newInstance(), target{url: at.URL, context: at.Context, creds: at.Creds}, log)
	return l.connect(ctx), l.watch, nil
}
