package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// Reasons of a [fleet.Error] with code 503 that the caller's side makes up: nobody answered. A service says
// Timeout, too, when it has not answered within its own deadline.
const (
	ReasonNoResponders = "NoResponders" // no instance of the service is connected
	ReasonTimeout      = "Timeout"      // nobody answered in time; the request may have been carried out
	ReasonDisconnected = "Disconnected" // we have no connection to NATS; the request was not sent
)

// How long, and how often on average, a query is asked again while replicas say that they cannot answer it
// now. With one of three in sync that leaves one query in ten million without an answer.
const (
	queryPatience = 2 * time.Second
	queryPause    = 50 * time.Millisecond
)

// Call asks an endpoint once and returns its answer; a query that a replica answers 503, because its view is
// not in sync, say, is asked again for a while: the next replica may know. An error reply is returned as
// the [fleet.Error] that it carries. Nobody answering is a [fleet.Error] with code 503, one of the
// reasons above, and the cause in its chain. Without a deadline in ctx, DefaultTimeout holds.
func Call[Req, Resp any](ctx context.Context, nc *nats.Conn, ep fleet.Endpoint, req Req) (Resp, error) {
	var resp Resp
	data, err := encode(req)
	if err != nil {
		return resp, fmt.Errorf("call %s: %w", ep.Subject, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	resp, err = ask[Resp](ctx, nc, ep, data)
	if ep.Role == fleet.RoleQuery && declined(err) {
		return askOn[Resp](ctx, nc, ep, data, err)
	}
	return resp, err
}

// askOn goes on asking after a replica has declined. When none answers, the error is the last that one of
// them gave.
func askOn[Resp any](ctx context.Context, nc *nats.Conn, ep fleet.Endpoint, data []byte, refusal error) (resp Resp, err error) {
	for began := time.Now(); time.Since(began) < queryPatience; {
		select {
		case <-ctx.Done():
			return resp, refusal
		case <-time.After(queryPause/2 + rand.N(queryPause)):
		}
		got, err := ask[Resp](ctx, nc, ep, data)
		switch {
		case declined(err):
			refusal = err
		case err != nil && ctx.Err() != nil:
			return resp, refusal
		default:
			return got, err
		}
	}
	return resp, refusal
}

// ask makes one request.
func ask[Resp any](ctx context.Context, nc *nats.Conn, ep fleet.Endpoint, data []byte) (Resp, error) {
	m, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: ep.Subject, Data: data})
	if err != nil {
		var none Resp
		return none, unanswered(ep, err)
	}
	return decodeReply[Resp](ep, m)
}

// declined reports whether a replica said at once that it cannot answer now.
func declined(err error) bool {
	e, ok := errors.AsType[*fleet.Error](err)
	if !ok || e.Code != fleet.CodeUnavailable {
		return false
	}
	switch e.Reason {
	case ReasonNoResponders, ReasonTimeout, ReasonDisconnected:
		return false
	}
	return true
}

// Attempts of [CallRetry].
const (
	attemptTimeout = 2 * time.Second
	minPause       = 50 * time.Millisecond
	maxPause       = time.Second
)

// CallRetry asks an endpoint until it answers: nobody answering, 429 and 503 are tried again, with
// growing pauses, while ctx lasts. Only for requests that may be carried out more than once. The error
// is that of the last attempt; [MayBeDone] knows of those before it.
func CallRetry[Req, Resp any](ctx context.Context, nc *nats.Conn, ep fleet.Endpoint, req Req) (Resp, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	lost := false
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		resp, err := Call[Req, Resp](attempt, nc, ep, req)
		cancel()
		if lost && err != nil {
			err = &lostError{err}
		}
		code := fleet.CodeOf(err)
		if code != fleet.CodeUnavailable && code != fleet.CodeBusy {
			return resp, err
		}
		lost = MayBeDone(err)
		select {
		case <-ctx.Done():
			return resp, err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// MayBeDone reports whether what was asked for may have been carried out although [Call] or [CallRetry] returned err: an
// attempt was sent, and no answer says that it was not. That of a 503 may say less than the service did.
func MayBeDone(err error) bool {
	if _, lost := errors.AsType[*lostError](err); lost {
		return true
	}
	e, ok := errors.AsType[*fleet.Error](err)
	if !ok {
		return errors.Is(err, context.Canceled)
	}
	return e.Code == fleet.CodeUnavailable && e.Reason != ReasonNoResponders && e.Reason != ReasonDisconnected
}

// lostError is the error of an attempt after another of which nobody knows whether it was carried out.
type lostError struct{ last error }

// Error returns the text of the last attempt's.
func (e *lostError) Error() string { return e.last.Error() }

// Unwrap returns the last attempt's error.
func (e *lostError) Unwrap() error { return e.last }

func decodeReply[Resp any](ep fleet.Endpoint, m *nats.Msg) (Resp, error) {
	var resp Resp
	if e := parseReply(m); e != nil {
		return resp, e
	}
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return resp, fmt.Errorf("call %s: decode answer: %w", ep.Subject, err)
	}
	return resp, nil
}

// unansweredError is a [fleet.Error] of our own with the cause behind it.
type unansweredError struct {
	shown *fleet.Error
	cause error
}

// Error returns the text of the [fleet.Error].
func (e *unansweredError) Error() string { return e.shown.Error() }

// Unwrap returns the [fleet.Error] and the cause.
func (e *unansweredError) Unwrap() []error { return []error{e.shown, e.cause} }

// Unsent reports whether err is the client's word that it sent nothing because it has no connection. It speaks of its
// buffer for reconnecting also when that is switched off.
func Unsent(err error) bool {
	return errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrDisconnected)
}

func unanswered(ep fleet.Endpoint, err error) error {
	var e *fleet.Error
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		e = fleet.Errorf(fleet.CodeUnavailable, ReasonNoResponders, "no %s answers on %s: is it running?", ep.Service, ep.Subject)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		e = fleet.Errorf(fleet.CodeUnavailable, ReasonTimeout, "%s did not answer on %s in time", ep.Service, ep.Subject)
	case Unsent(err):
		e = fleet.Errorf(fleet.CodeUnavailable, ReasonDisconnected, "not connected to NATS: %s was not asked", ep.Service)
	default:
		return fmt.Errorf("call %s: %w", ep.Subject, err)
	}
	return &unansweredError{shown: e, cause: err}
}
