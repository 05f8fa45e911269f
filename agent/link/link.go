package link

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent"
	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// Options tune a [Link]. Zero values mean the defaults.
type Options struct {
	Timeout time.Duration // of a request or publish; default 5 s
	Window  int           // requests, and publishes, under way at a time; default 256
	Buffer  int           // messages that wait to be taken; default 65536
	Log     *slog.Logger
}

// expiryStep is how often calls are checked for a time-out.
const expiryStep = 100 * time.Millisecond

// Link is a connection that agents share. It implements [agent.Conn].
type Link struct {
	nc   *nats.Conn
	log  *slog.Logger
	msgs chan *nats.Msg

	mu        sync.Mutex
	online    bool
	seats     map[fleet.DeviceID]*seat
	asks      *calls
	publishes *calls
}

// New returns a link over nc, which stays the caller's. Agents may join before [Link.Run]; nothing
// happens to them before it.
func New(nc *nats.Conn, o Options) *Link {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Window == 0 {
		o.Window = 256
	}
	if o.Buffer == 0 {
		o.Buffer = 1 << 16
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Link{
		nc: nc, log: o.Log, msgs: make(chan *nats.Msg, o.Buffer), seats: map[fleet.DeviceID]*seat{},
		asks:      newCalls(nc, o.Window, o.Timeout),
		publishes: newCalls(nc, o.Window, o.Timeout),
	}
}

// Run delivers messages until ctx is done.
func (l *Link) Run(ctx context.Context) error {
	for _, subject := range []string{l.asks.inbox + "*", l.publishes.inbox + "*", fleet.SubjectResyncAll} {
		sub, err := l.nc.ChanSubscribe(subject, l.msgs)
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		defer unsubscribe(sub)
	}
	status := l.nc.StatusChanged()
	defer l.nc.RemoveStatusListener(status)
	ticker := time.NewTicker(expiryStep)
	defer ticker.Stop()
	l.connection()
	for {
		if len(l.msgs) == cap(l.msgs) {
			l.overflow()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-status:
			l.connection()
		case m := <-l.msgs:
			l.take(m)
		case now := <-ticker.C:
			l.expire(now)
		}
	}
}

// connection looks how the connection is, after something happened to it: whatever it was, what was
// there before is gone.
func (l *Link) connection() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.online {
		l.online = false
		l.asks.clear()
		l.publishes.clear()
		l.all(protocol.Disconnected{})
	}
	if l.nc.IsConnected() {
		l.online = true
		l.all(protocol.Connected{})
	}
}

// overflow tells every agent that messages were dropped. Answers among them time out.
func (l *Link) overflow() {
	l.log.Warn("messages came faster than they were taken, agents ask again")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all(protocol.Lost{})
}

func (l *Link) expire(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks.expire(now)
	l.publishes.expire(now)
}

// all posts an event to every seat. The caller holds the lock.
func (l *Link) all(e protocol.Event) {
	for _, s := range l.seats {
		s.post(e)
	}
}

// unsubscribe ends a subscription. On a connection that is closed it has ended already.
func unsubscribe(sub *nats.Subscription) { _ = sub.Unsubscribe() }

var _ agent.Conn = (*Link)(nil)
