package link

import (
	"context"
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

// lookEvery is how often the link looks for calls that have timed out and messages that were dropped.
const lookEvery = 100 * time.Millisecond

// Link is a connection that agents share. It implements [agent.Conn].
type Link struct {
	nc      *nats.Conn
	log     *slog.Logger
	msgs    chan *nats.Msg
	resyncs *intake // of all agents; only Run uses it

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
		resyncs:   &intake{}, // without a subscription nothing is missed
		asks:      newCalls(nc, o.Window, o.Timeout),
		publishes: newCalls(nc, o.Window, o.Timeout),
	}
}

// Run delivers messages until ctx is done.
func (l *Link) Run(ctx context.Context) error {
	for _, c := range []*calls{l.asks, l.publishes} {
		answers, err := l.subscribe(c.inbox+"*", nil) // one that is dropped times out
		if err != nil {
			return err
		}
		defer answers.end()
	}
	resyncs, err := l.subscribe(fleet.SubjectResyncAll, protocol.ResyncAsked{})
	if err != nil {
		return err
	}
	defer resyncs.end()
	l.resyncs = resyncs
	status := l.nc.StatusChanged()
	defer l.nc.RemoveStatusListener(status)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	l.connection()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-status:
			l.connection()
		case m := <-l.msgs:
			l.take(m)
		case now := <-ticker.C:
			l.tick(now)
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

// tick looks for what nobody tells the link.
func (l *Link) tick(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks.expire(now)
	l.publishes.expire(now)
	l.makeUp()
}

// makeUp tells the agents whose messages were dropped, and only them: the others need not ask. The caller
// holds the lock.
func (l *Link) makeUp() {
	agents := 0
	if l.resyncs.missed() {
		agents = len(l.seats)
		l.all(l.resyncs.loss)
	}
	for _, s := range l.seats {
		for _, in := range s.intakes {
			if in.missed() {
				agents++
				s.post(in.loss)
			}
		}
	}
	if agents > 0 {
		l.log.Warn("messages came faster than they were taken, agents ask again", "agents", agents)
	}
}

// all posts an event to every seat. The caller holds the lock.
func (l *Link) all(e protocol.Event) {
	for _, s := range l.seats {
		s.post(e)
	}
}

var _ agent.Conn = (*Link)(nil)
