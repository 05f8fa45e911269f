package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"

	"harmony.dev/fleet"
)

// Times of a connection.
const (
	connectTimeout  = 2 * time.Second
	pingInterval    = time.Second
	maxMissedPings  = 2
	minReconnect    = 100 * time.Millisecond
	maxReconnect    = 1600 * time.Millisecond // and a quarter of it as jitter: at most 2 s
	drainTimeout    = 5 * time.Second
	watchInterval   = 500 * time.Millisecond
	minServerMajor  = 2
	minServerMinor  = 14
	minServerNeeded = "2.14"
)

// link is one connection that never gives up, and why it is not up.
type link struct {
	name   string // "data" or "control"
	client string // name of the connection on the server: "fleet-reconciler/pi-1a2b/data"
	target target
	log    *slog.Logger
	closed chan struct{} // closed when the connection is closed for good

	mu     sync.Mutex
	nc     *nats.Conn
	setup  error     // why there is not even a connection to retry with: a file or context that cannot be read
	dial   error     // of the last attempt to dial
	denied string    // the last refused subject since the connection came up
	slow   time.Time // when dropped messages were logged last
}

func newLink(name, service, instance string, t target, log *slog.Logger) *link {
	return &link{
		name: name, client: service + "/" + instance + "/" + name, target: t,
		log: log.With("connection", name), closed: make(chan struct{}),
	}
}

// connect returns the connection as soon as there is one to retry with; it may be down. It returns nil
// only when ctx ended. A context or credentials file that cannot be read may be there later.
func (l *link) connect(ctx context.Context) *nats.Conn {
	for last := ""; ; {
		nc, err := l.open()
		l.mu.Lock()
		l.nc, l.setup = nc, err
		l.mu.Unlock()
		if err == nil {
			return nc
		}
		if err.Error() != last {
			last = err.Error()
			l.log.Error("nats connection is misconfigured", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(maxReconnect):
		}
	}
}

func (l *link) open() (*nats.Conn, error) {
	if l.target.context == "" {
		nc, err := nats.Connect(l.target.url, l.options()...)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", Redact(l.target.url), err)
		}
		return nc, nil
	}
	nc, _, err := natscontext.Connect(l.target.context, l.options()...)
	if err != nil {
		return nil, fmt.Errorf("connect by NATS context %q: %w", l.target.context, err)
	}
	return nc, nil
}

func (l *link) options() []nats.Option {
	opts := []nats.Option{
		nats.Name(l.client),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxMissedPings),
		nats.ReconnectBufSize(-1),
		nats.Timeout(connectTimeout),
		nats.DrainTimeout(drainTimeout),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ErrorHandler(l.asyncError),
		nats.ReconnectHandler(func(*nats.Conn) { l.setDenied("") }),
		nats.ClosedHandler(func(*nats.Conn) { close(l.closed) }),
		l.watchDials,
	}
	if l.target.creds != "" {
		opts = append(opts, nats.UserCredentials(l.target.creds))
	}
	return opts
}

// reconnectDelay is the pause before the n-th round of attempts: doubled up to a limit, with jitter, so
// that a restarted server is not met by everybody at once.
func reconnectDelay(n int) time.Duration {
	d := minReconnect << min(max(n-1, 0), 8)
	d = min(d, maxReconnect)
	return d + rand.N(d/4)
}

// dialer keeps the outcome of the last dial: the client library drops it.
type dialer struct {
	link *link
	next nats.CustomDialer
}

// Dial dials as before.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.next.Dial(network, address)
	d.link.mu.Lock()
	defer d.link.mu.Unlock()
	d.link.dial = err
	return c, err
}

// watchDials is an option that comes last: a context may have set a dialer of its own.
func (l *link) watchDials(o *nats.Options) error {
	next := o.CustomDialer
	if next == nil {
		next = &net.Dialer{Timeout: o.Timeout}
	}
	o.CustomDialer = dialer{l, next}
	return nil
}

func (l *link) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	if errors.Is(err, nats.ErrSlowConsumer) && !l.mayLogSlow(time.Now()) {
		return
	}
	l.log.Warn("nats error", "subject", subject, "err", err)
	if errors.Is(err, nats.ErrPermissionViolation) && !deniedReply(err) {
		l.setDenied(err.Error())
	}
}

// slowEvery is how often at most the log tells of dropped messages. A subscription that is flooded falls behind
// again with every message that it takes: whoever floods it must not decide how much is logged.
const slowEvery = 10 * time.Second

func (l *link) mayLogSlow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.slow) < slowEvery {
		return false
	}
	l.slow = now
	return true
}

// deniedReply reports whether the server refused a publish to an inbox. Whoever asks chooses it: a
// caller must not be able to make a service look degraded.
func deniedReply(err error) bool { return strings.Contains(err.Error(), `Publish to "_`) }

func (l *link) setDenied(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denied = text
}

func (l *link) conn() *nats.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nc
}

func (l *link) connected() bool {
	nc := l.conn()
	return nc != nil && nc.IsConnected()
}

// watch logs when the connection comes, goes or fails in another way, until ctx is done. That the
// connection is closed for good before that is a bug, and an error.
func (l *link) watch(ctx context.Context) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	nc := l.conn()
	for last, first := (fleet.Reason{}), true; ; first = false {
		now := fleet.Reason{}
		if r := l.reason(); r != nil {
			now = *r
		}
		switch {
		case now == last && !first:
		case now == fleet.Reason{}:
			l.log.Info("nats connected", "server", nc.ConnectedServerName(), "url", nc.ConnectedUrlRedacted(), "version", nc.ConnectedServerVersion())
		default:
			l.log.Warn("nats connection degraded", "reason", now.Reason, "err", now.Message)
		}
		last = now
		select {
		case <-ctx.Done():
			return nil
		case <-l.closed:
			if ctx.Err() == nil {
				return fmt.Errorf("the %s connection was closed", l.name)
			}
			return nil
		case <-tick.C:
		}
	}
}

// drain closes the connection after what was taken in is handled and what was written is sent.
func (l *link) drain() error {
	nc := l.conn()
	if nc == nil {
		return nil
	}
	err := nc.Drain()
	if err != nil { // not connected: there is nothing to drain
		nc.Close()
	}
	select {
	case <-l.closed:
	case <-time.After(drainTimeout + time.Second):
		nc.Close()
		return fmt.Errorf("drain the %s connection: not closed after %s", l.name, drainTimeout+time.Second)
	}
	return nil
}

func (l *link) close() {
	if nc := l.conn(); nc != nil {
		nc.Close()
	}
}
