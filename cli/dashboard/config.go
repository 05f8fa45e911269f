package dashboard

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Config is what the dashboard needs.
type Config struct {
	NATS *nats.Conn
	Log  *slog.Logger
	// Hosts are the names, without port, by which it may be addressed beside those of loopback: a page of another site
	// whose name is made to lead here gets nothing.
	Hosts []string
	// Every is how long a round of questions lasts, the default is 700 ms. Silence is told after two of them.
	Every time.Duration
	// Actions are what may be done after login; nil means read only.
	Actions *Actions
}

// Actions are what a person who has the token may do.
type Actions struct {
	Token string
	// Approve lets the deletes of a hold pass.
	Approve func(ctx context.Context, hold string) error
	// Forget deletes the resource of a device; nil where there is no way to Kubernetes.
	Forget func(ctx context.Context, device string) error
}

const defaultEvery = 700 * time.Millisecond
