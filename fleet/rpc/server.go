package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"harmony.dev/fleet"
)

// Defaults of a [Config].
const (
	DefaultWorkers = 16
	DefaultQueue   = 256
	DefaultTimeout = 5 * time.Second
)

// ErrStopped is wrapped by what [Server.Run] returns when micro stopped the service by itself.
var ErrStopped = errors.New("micro stopped the service")

// Config describes a [Server] or [Subscription]. Log is required, everything else has a default. Panicked is
// for a Subscription: a Server's Run returns the panic.
type Config struct {
	Service     string            // fleet.ServicePatcher
	Instance    string            // metadata "instance"
	Version     string            // anything; micro shows it as a semantic version, see Server
	Description string            // one sentence for `nats micro info`
	Metadata    map[string]string // more metadata of the service
	Workers     int               // requests handled at a time, DefaultWorkers
	Queue       int               // requests that wait for a worker, DefaultQueue
	PerSubject  int               // requests on one subject that are handled or wait, no limit
	MaxRequest  int               // size of a request in bytes, MaxRequestSize; of a Subscription with its header
	Timeout     time.Duration     // deadline of a request from its arrival, DefaultTimeout
	Refused     func(string)      // called for each request that is refused unread, with the reason; must not block
	Panicked    func(*PanicError) // called with the panic of a handler, and has to end the process; by default it goes on
	Log         *slog.Logger
}

// What the client library keeps of one subscription until the dispatcher has looked at it: so many bytes, and
// messages as [Config] says. The dispatcher never waits, so this only fills while the process gets no time or
// cannot write its log; then more would cost memory for requests whose senders have given up. The library drops
// what is over it.
const (
	pendingBytes    = 16 << 20
	pendingMessages = 4096 // at least
)

// pending returns how many messages are kept before the dispatcher has looked at them: what may wait behind it
// may wait before it, too.
func (c Config) pending() int { return max(pendingMessages, 2*c.Queue) }

// Reasons for which a request is refused unread.
const (
	ReasonBusy     = "Busy"            // 429: no worker and no place to wait is free, or none for its subject
	ReasonTooLarge = "RequestTooLarge" // 400
	ReasonNoInbox  = "NoInbox"         // a [Subscription] got a request that cannot be answered
)

func (c Config) withDefaults() Config {
	if c.Workers <= 0 {
		c.Workers = DefaultWorkers
	}
	if c.Queue <= 0 {
		c.Queue = DefaultQueue
	}
	if c.MaxRequest <= 0 {
		c.MaxRequest = MaxRequestSize
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Refused == nil {
		c.Refused = func(string) {}
	}
	return c
}

// Server is one instance of a micro service.
type Server struct {
	core
	micro micro.Service
	calls *pool // of query and acting endpoints
	every *pool // of endpoints that each replica answers

	failed  chan *PanicError // holds the first panic
	stopped chan struct{}    // closed when micro says done

	holding func() bool // nil: always
	pending int         // messages of an endpoint that the dispatcher has not looked at
	dropped throttle    // for what the log says of dropped messages

	mu       sync.Mutex
	counters map[string]*counters // by endpoint name
}

// NewServer registers a service instance on a connection that may or may not be connected now. Requests
// are served from the moment an endpoint is added; call [Server.Run] to learn of failures and to drain.
//
// The handlers for closing and errors of nc must be set before: micro puts its own in front of them.
func NewServer(nc *nats.Conn, cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	s := &Server{
		core:     newCore(nc, cfg),
		calls:    newPool(cfg.Workers, cfg.Queue, cfg.PerSubject),
		every:    newPool(2, 64, 0),
		failed:   make(chan *PanicError, 1),
		stopped:  make(chan struct{}),
		pending:  cfg.pending(),
		counters: map[string]*counters{},
	}
	s.panics, s.dropped.every = s.fail, errorEvery
	metadata := map[string]string{"instance": cfg.Instance, "version": cfg.Version}
	maps.Copy(metadata, cfg.Metadata)
	m, err := micro.AddService(nc, micro.Config{
		Name:         cfg.Service,
		Version:      semanticVersion(cfg.Version),
		Description:  cfg.Description,
		Metadata:     metadata,
		StatsHandler: s.stats,
		DoneHandler:  func(micro.Service) { close(s.stopped) },
		ErrorHandler: s.asyncError,
	})
	if err != nil {
		return nil, fmt.Errorf("add micro service %s: %w", cfg.Service, err)
	}
	s.micro = m
	return s, nil
}

// ActWhile makes the acting endpoints that are added after it silent while holding returns false: a
// standby does not even refuse what it cannot read, or what is too much for it. Without it a handler has
// to return [ErrSilent] itself.
func (s *Server) ActWhile(holding func() bool) { s.holding = holding }

// Handle adds an endpoint. The schemas of Req and Resp are in the endpoint's metadata, its role decides
// on the queue group. An error of h that is a [fleet.Error] is what the caller gets; [ErrSilent] is no
// reply; any other is a 500.
func Handle[Req, Resp any](s *Server, ep fleet.Endpoint, h func(ctx context.Context, req Req) (Resp, error)) error {
	f := bind(func(ctx context.Context, _ string, req Req) (Resp, error) { return h(ctx, req) }, strict)
	metadata, err := endpointMetadata[Req, Resp](ep)
	if err != nil {
		return fmt.Errorf("describe endpoint %s: %w", ep.Name, err)
	}
	return s.add(ep, metadata, f)
}

func (s *Server) add(ep fleet.Endpoint, metadata map[string]string, f invoke) error {
	group, p := micro.WithEndpointQueueGroupDisabled(), s.calls
	answers := func() bool { return true }
	switch ep.Role {
	case fleet.RoleQuery:
		group = micro.WithEndpointQueueGroup(micro.DefaultQueueGroup)
	case fleet.RoleActing:
		if s.holding != nil {
			answers = s.holding
		}
	case fleet.RoleEvery:
		p = s.every
	default:
		return fmt.Errorf("add endpoint %s: no such role %q", ep.Name, ep.Role)
	}
	n := s.count(ep.Name)
	handler := micro.HandlerFunc(func(r micro.Request) {
		if !answers() {
			n.silent.Add(1)
			return
		}
		s.accept(p, n, request{subject: r.Subject(), reply: r.Reply(), data: r.Data(), size: len(r.Data())}, f)
	})
	if err := s.micro.AddEndpoint(ep.Name, handler, micro.WithEndpointSubject(ep.Subject), micro.WithEndpointMetadata(metadata),
		micro.WithEndpointPendingLimits(s.pending, pendingBytes), group); err != nil {
		return fmt.Errorf("add endpoint %s: %w", ep.Name, err)
	}
	return nil
}

// Run waits until ctx is done, then stops taking requests, waits for those in flight and returns nil. It
// returns sooner with a [PanicError] when a handler panicked, and with [ErrStopped] when micro
// stopped by itself, as it does when the connection is closed.
func (s *Server) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return s.drain()
	case p := <-s.failed:
		return p
	case <-s.stopped:
		return fmt.Errorf("serve: %w", ErrStopped)
	}
}

// Stopped reports whether the service no longer answers.
func (s *Server) Stopped() bool { return s.micro.Stopped() }

// drainMargin is how much longer than a request's deadline a drain waits for its handler.
const drainMargin = time.Second

func (s *Server) drain() error {
	if err := s.micro.Stop(); err != nil {
		return fmt.Errorf("stop micro service: %w", err)
	}
	// After the flush every message that the server sent us before it saw the unsubscription is here.
	if s.nc.IsConnected() {
		if err := s.nc.FlushTimeout(drainMargin); err != nil {
			s.log.Warn("flush at drain", "err", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout+drainMargin)
	defer cancel()
	left := s.calls.settle(ctx) + s.every.settle(ctx)
	select {
	case p := <-s.failed:
		return p
	default:
	}
	if left > 0 {
		return fmt.Errorf("drain: %d requests are still being handled", left)
	}
	return nil
}

func (s *Server) fail(p *PanicError) {
	select {
	case s.failed <- p:
	default: // the first one ends the process
	}
}

func (s *Server) asyncError(_ micro.Service, e *micro.NATSError) {
	if s.dropped.open(time.Now()) { // a flooded subscription falls behind again with every message that it takes
		s.log.Warn("micro subscription", "subject", e.Subject, "err", e.Description)
	}
}

func (s *Server) count(endpoint string) *counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.counters[endpoint]
	if !ok {
		n = &counters{}
		s.counters[endpoint] = n
	}
	return n
}

// endpointStats is the "data" of an endpoint in `nats micro stats --json`. micro's own figures end where the
// request is handed to the pool: its errors are always 0, its times those of the hand-over.
type endpointStats struct {
	Answered              uint64        `json:"answered"`
	Errors                uint64        `json:"errors"`
	Refused               uint64        `json:"refused"`              // 429
	Silent                uint64        `json:"silent"`               // of an acting endpoint on a standby
	LastError             string        `json:"last_error,omitempty"` // "404 NotFound"
	ProcessingTime        time.Duration `json:"processing_time"`
	AverageProcessingTime time.Duration `json:"average_processing_time"` // of the requests that a handler has had
}

func (s *Server) stats(e *micro.Endpoint) any {
	n := s.count(e.Name)
	stats := endpointStats{
		Answered:       n.answered.Load(),
		Errors:         n.errors.Load(),
		Refused:        n.refused.Load(),
		Silent:         n.silent.Load(),
		ProcessingTime: time.Duration(n.busy.Load()),
	}
	if last := n.last.Load(); last != nil {
		stats.LastError = *last
	}
	if handled := n.handled.Load(); handled > 0 {
		stats.AverageProcessingTime = stats.ProcessingTime / time.Duration(handled)
	}
	return stats
}

// semanticVersion returns v when it is a semantic version (a leading "v" is dropped), else
// "0.0.0-devel+<v>": micro takes nothing else.
func semanticVersion(v string) string {
	v = strings.TrimPrefix(v, "v")
	if semver().MatchString(v) {
		return v
	}
	build := strings.Trim(regexp.MustCompile(`[^0-9A-Za-z.-]+`).ReplaceAllString(v, "-"), ".-")
	if build == "" || build == "devel" || strings.Contains(build, "..") {
		return "0.0.0-devel"
	}
	return "0.0.0-devel+" + build
}

func semver() *regexp.Regexp {
	return regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
}
