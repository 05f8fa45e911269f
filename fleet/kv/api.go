package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"
)

// Error codes of the server that the package tells apart (errors.json of nats-server).
const (
	codeWrongLastSequence uint16 = 10071 // an expected revision is not the present one
	codeBusy              uint16 = 10164 // another write on the checked subject is in flight: try again
	codeBatchIncomplete   uint16 = 10176 // a message of the batch was lost or refused: nothing was committed
	codeTooManyBatches    uint16 = 10210 // too many open batches: nothing was committed
	codeStreamNotFound    uint16 = 10059
	codeConsumerNotFound  uint16 = 10014
	codeNoMessage         uint16 = 10037
	codeNameInUse         uint16 = 10058
	codeSubjectsOverlap   uint16 = 10065
	codeNotEnabled        uint16 = 10076
	codeNotEnabledAccount uint16 = 10039
)

const (
	// replyTimeout is how long one answer of the server is waited for.
	replyTimeout = 5 * time.Second
	// readTimeout is the same for questions: a stream without a leader does not answer, and asking
	// again costs nothing.
	readTimeout = 2 * time.Second
	// watchEvery is how often a request that takes long looks whether its connection is still the same.
	watchEvery = 100 * time.Millisecond
)

// errDisconnected says that the connection is down or was replaced while an answer was waited for.
var errDisconnected = errors.New("no connection to NATS")

// call sends a JetStream API request and decodes the answer.
func call[Resp interface{ ToError() error }](ctx context.Context, nc *nats.Conn, subject string, req any) (Resp, error) {
	var resp Resp
	body, err := json.Marshal(req)
	if err != nil {
		return resp, fmt.Errorf("encode request: %w", err)
	}
	m, err := roundTrip(ctx, nc, &nats.Msg{Subject: subject, Data: body})
	if err != nil {
		return resp, apiError(err)
	}
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return resp, fmt.Errorf("decode answer on %s: %w", subject, err)
	}
	return resp, apiError(resp.ToError())
}

// roundTrip sends a message and waits for one answer, at most for replyTimeout. It does not wait on a
// connection that was lost meanwhile: that answer never comes.
func roundTrip(ctx context.Context, nc *nats.Conn, m *nats.Msg) (*nats.Msg, error) {
	return roundTripWithin(ctx, nc, m, replyTimeout)
}

// roundTripWithin is roundTrip for what may take longer.
func roundTripWithin(ctx context.Context, nc *nats.Conn, m *nats.Msg, within time.Duration) (*nats.Msg, error) {
	if !nc.IsConnected() {
		return nil, errDisconnected
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go watchConnection(ctx, nc, cancel)
	timed, stop := context.WithTimeout(ctx, within)
	defer stop()
	reply, err := nc.RequestMsgWithContext(timed, m)
	if err != nil && errors.Is(context.Cause(ctx), errDisconnected) {
		return nil, errDisconnected
	}
	return reply, err
}

// watchConnection cancels when the connection is not the one it was at the start.
func watchConnection(ctx context.Context, nc *nats.Conn, cancel context.CancelCauseFunc) {
	before := nc.Stats().Reconnects
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !nc.IsConnected() || nc.Stats().Reconnects != before {
				cancel(errDisconnected)
				return
			}
		}
	}
}

// apiError adds what an answer of the JetStream API means for a bucket.
func apiError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrNoResponders), api.IsNatsErr(err, codeNotEnabled, codeNotEnabledAccount):
		return fmt.Errorf("%w (%w)", ErrNoJetStream, err)
	case api.IsNatsErr(err, codeStreamNotFound):
		return fmt.Errorf("%w (%w)", ErrBucketMissing, err)
	}
	return err
}
