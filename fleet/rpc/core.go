package rpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// ErrSilent is what a handler of an acting endpoint returns on a standby: no reply is sent.
var ErrSilent = errors.New("not the holder: no reply is sent")

// PanicError is a panic in a handler.
type PanicError struct {
	Subject string // of the request
	Value   any    // what was panicked with
	Stack   []byte // where
}

// Error returns the subject and the value, without the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("handler of %s: panic: %v", e.Subject, e.Value)
}

// invoke turns the payload of a request into the payload of its answer.
type invoke func(ctx context.Context, subject string, data []byte) ([]byte, error)

// core answers requests: what servers and plain subscriptions have in common.
type core struct {
	nc         *nats.Conn
	log        *slog.Logger
	timeout    time.Duration
	maxRequest int
	refused    func(reason string)
	panics     func(*PanicError)
	loud       throttle // for errors that the log shows at Error
}

func newCore(nc *nats.Conn, cfg Config) core {
	return core{nc: nc, log: cfg.Log, timeout: cfg.Timeout, maxRequest: cfg.MaxRequest, refused: cfg.Refused}
}

// request is a request as it was delivered.
type request struct {
	subject, reply string
	data           []byte
	size           int // of what is kept for it
}

// counters count the requests of one endpoint.
type counters struct {
	answered, errors, refused, silent atomic.Uint64
	handled                           atomic.Uint64 // requests that a handler has had
	busy                              atomic.Int64  // nanoseconds in handlers
	last                              atomic.Pointer[string]
}

// failed takes note of the last error, without its text: that may have come from who asked.
func (n *counters) failed(e *fleet.Error) {
	last := fmt.Sprintf("%d %s", e.Code, e.Reason)
	n.last.Store(&last)
}

// accept hands a request to the pool, or refuses it. It does not wait for the handler. What waits is
// kept in memory, so its size is judged here.
func (c *core) accept(p *pool, n *counters, r request, f invoke) {
	if r.size > c.maxRequest {
		n.errors.Add(1)
		c.refuse(n, r, fleet.Errorf(fleet.CodeInvalid, ReasonTooLarge, "the request is %d bytes, at most %d are allowed", r.size, c.maxRequest))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	taken := p.submit(r.subject, func() {
		defer cancel()
		c.answer(ctx, n, r, f)
	})
	if !taken {
		cancel()
		n.refused.Add(1)
		c.refuse(n, r, fleet.Errorf(fleet.CodeBusy, ReasonBusy, "too many requests are in progress: try again later"))
	}
}

// refuse answers a request that is not read.
func (c *core) refuse(n *counters, r request, e *fleet.Error) {
	c.refused(e.Reason)
	n.failed(e)
	c.respondError(r, c.public(context.Background(), r, e))
}

func (c *core) answer(ctx context.Context, n *counters, r request, f invoke) {
	start := time.Now()
	data, err := c.guard(ctx, r, f)
	n.busy.Add(int64(time.Since(start)))
	n.handled.Add(1)
	if errors.Is(err, ErrSilent) {
		n.silent.Add(1)
		return
	}
	if err == nil {
		if err = c.publish(r, &nats.Msg{Data: data}); err == nil {
			n.answered.Add(1)
			return
		}
	}
	n.errors.Add(1)
	shown := c.public(ctx, r, err)
	n.failed(shown)
	c.respondError(r, shown)
	if p, ok := errors.AsType[*PanicError](err); ok {
		c.panics(p)
	}
}

// guard runs the handler and returns a panic in it as an error.
func (c *core) guard(ctx context.Context, r request, f invoke) (data []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Subject: r.subject, Value: v, Stack: debug.Stack()}
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return f(ctx, r.subject, r.data)
}

// public returns what the caller may see of an error; the log has the rest, under the same id.
func (c *core) public(ctx context.Context, r request, err error) *fleet.Error {
	id := newErrorID()
	if e, ok := errors.AsType[*fleet.Error](err); ok {
		shown := *e
		if shown.ErrorID == "" {
			shown.ErrorID = id
		}
		c.log.Debug("request refused", "subject", r.subject, "code", int(shown.Code), "reason", shown.Reason, "error_id", shown.ErrorID, "err", err)
		return &shown
	}
	e := fleet.Errorf(fleet.CodeInternal, "Internal", "an unexpected error; the log of the service has it under %s", id)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		e = fleet.Errorf(fleet.CodeUnavailable, ReasonTimeout, "not answered within %s: try again later", c.timeout)
	}
	e.ErrorID = id
	say := c.log.Error
	if !c.loud.open(time.Now()) {
		say = c.log.Debug
	}
	say("request not answered", "subject", r.subject, "code", int(e.Code), "error_id", id, "err", err)
	return e
}

func (c *core) respondError(r request, e *fleet.Error) {
	m, err := errorReply(e)
	if err == nil {
		err = c.publish(r, m)
	}
	if err != nil {
		c.log.Debug("error reply not sent", "subject", r.subject, "code", int(e.Code), "err", err)
	}
}

// publish sends a reply to where the request wants it, if it may.
func (c *core) publish(r request, m *nats.Msg) error {
	if r.reply == "" {
		return nil
	}
	if !isInbox(r.reply) {
		return fmt.Errorf("reply to %.80q: not an inbox", r.reply)
	}
	m.Subject = r.reply
	if err := c.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("reply to %s: %w", r.subject, err)
	}
	return nil
}

// bind makes a typed handler one of payloads.
func bind[Req, Resp any](h func(ctx context.Context, subject string, req Req) (Resp, error), s strictness) invoke {
	return func(ctx context.Context, subject string, data []byte) ([]byte, error) {
		var req Req
		if err := decodeRequest(data, &req, s); err != nil {
			return nil, err
		}
		resp, err := h(ctx, subject, req)
		if err != nil {
			return nil, err
		}
		return encode(resp)
	}
}

func newErrorID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
