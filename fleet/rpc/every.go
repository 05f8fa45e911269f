package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// CallEvery asks each replica behind an endpoint and gathers their answers, one per replica, in the
// order in which they came. It ends wait after the request, or sooner, when for a quarter of it (at
// least 100 ms) after an answer no other came. Error replies are joined into the error, beside the
// answers that came. No answer at all is a [fleet.Error] with code 503, as [Call] has it.
func CallEvery[Req, Resp any](ctx context.Context, nc *nats.Conn, ep fleet.Endpoint, req Req, wait time.Duration) ([]Resp, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	replies, err := gather(ctx, nc, ep, req, max(wait/4, 100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	var answers []Resp
	var errs []error
	for _, m := range replies {
		resp, err := decodeReply[Resp](ep, m)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		answers = append(answers, resp)
	}
	return answers, errors.Join(errs...)
}

// gather sends one request and returns the replies that came until ctx ended or stalled; at least one.
func gather(ctx context.Context, nc *nats.Conn, ep fleet.Endpoint, req any, stall time.Duration) ([]*nats.Msg, error) {
	data, err := encode(req)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", ep.Subject, err)
	}
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("call %s: subscribe to answers: %w", ep.Subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	if err := nc.PublishMsg(&nats.Msg{Subject: ep.Subject, Reply: inbox, Data: data}); err != nil {
		return nil, unanswered(ep, err)
	}
	var replies []*nats.Msg
	for {
		m, err := next(ctx, sub, stall, len(replies) > 0)
		switch {
		case err == nil:
			replies = append(replies, m)
		case len(replies) > 0:
			return replies, nil
		default:
			return nil, unanswered(ep, err)
		}
	}
}

// next returns the next reply; once there was one, it waits no longer than the stall time.
func next(ctx context.Context, sub *nats.Subscription, stall time.Duration, some bool) (*nats.Msg, error) {
	if some {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, stall)
		defer cancel()
	}
	return sub.NextMsgWithContext(ctx)
}
