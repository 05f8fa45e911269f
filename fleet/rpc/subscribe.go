package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Subscription answers requests on a plain subject, or a pattern of subjects, that is no micro
// endpoint. Whoever may publish there may ask: a request that could not be answered is not carried out, and
// who asks does not decide how much is logged.
type Subscription struct {
	core
	sub    *nats.Subscription
	pool   *pool
	closed chan struct{} // the client library has dispatched the last message
}

// Subscribe answers requests on a subject with the same pool, codec and error replies as an endpoint.
// h gets the subject of each request, which may name who asks. Nobody waits for a subscription, so a panic in
// h goes on and ends the process, unless the Config has somebody to hand it to.
func Subscribe[Req, Resp any](nc *nats.Conn, subject string, cfg Config, h func(ctx context.Context, subject string, req Req) (Resp, error)) (*Subscription, error) {
	cfg = cfg.withDefaults()
	s := &Subscription{
		core:   newCore(nc, cfg),
		pool:   newPool(cfg.Workers, cfg.Queue, cfg.PerSubject),
		closed: make(chan struct{}),
	}
	if s.panics = cfg.Panicked; s.panics == nil {
		s.panics = repanic(nc)
	}
	s.loud.every = errorEvery
	f, n := bind(h, lenient), &counters{}
	sub, err := nc.Subscribe(subject, func(m *nats.Msg) { s.receive(n, m, f) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	if err := sub.SetPendingLimits(cfg.pending(), pendingBytes); err != nil {
		return nil, fmt.Errorf("bound what %s keeps: %w", subject, err)
	}
	sub.SetClosedHandler(func(string) { close(s.closed) })
	s.sub = sub
	return s, nil
}

// receive takes one message. Without an inbox the answer would be computed for nobody.
func (s *Subscription) receive(n *counters, m *nats.Msg, f invoke) {
	if !isInbox(m.Reply) {
		s.refused(ReasonNoInbox)
		s.log.Debug("request without an inbox", "subject", m.Subject)
		return
	}
	s.accept(s.pool, n, request{
		subject: m.Subject, reply: m.Reply, data: m.Data,
		size: m.Size() - len(m.Subject) - len(m.Reply), // data shares its memory with the header
	}, f)
}

// Drain stops taking requests and waits until those in flight are answered or ctx is done, at most a little
// longer than the deadline of a request.
func (s *Subscription) Drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout+drainMargin)
	defer cancel()
	err := s.sub.Drain()
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubscription) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("drain %s: %w", s.sub.Subject, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("drain %s: %w", s.sub.Subject, ctx.Err())
	case <-s.closed:
	}
	if left := s.pool.settle(ctx); left > 0 {
		return fmt.Errorf("drain %s: %d requests are still being handled", s.sub.Subject, left)
	}
	return nil
}

// repanic ends the process with a handler's panic, after the reply to its caller has left.
func repanic(nc *nats.Conn) func(*PanicError) {
	return func(p *PanicError) {
		_ = nc.FlushTimeout(time.Second)                   // the caller may not get its reply: the panic is what counts
		panic(fmt.Sprintf("%s\n\n%s", p.Error(), p.Stack)) //nolint:forbidigo // the panic of a handler goes on
	}
}
