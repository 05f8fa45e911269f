package acting

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

const (
	// workers is how many requests of one kind are under way at a time.
	workers = 8
	// patience is how long an answer of the patcher is waited for. While no patcher holds its lease nobody
	// answers, and it is the next try that finds the new holder.
	patience = 2 * time.Second
)

// outcome is what became of a request to the patcher.
type outcome uint8

const (
	done    outcome = iota // carried out, or there is nothing left to do
	again                  // look at the present state and send that
	rebuild                // the same, but what it follows from is not there again yet
	silence                // the patcher takes no requests now: do not try the others either
	deposed                // our epoch is not the current one
)

// send asks the patcher and judges its answer. The error is for the log, nil when done.
func send[Req any](ctx context.Context, nc *nats.Conn, ep fleet.Endpoint, req Req) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := rpc.Call[Req, fleet.ApplyResponse](ctx, nc, ep, req)
	return judge(err), err
}

func judge(err error) outcome {
	if err == nil {
		return done
	}
	e, ok := errors.AsType[*fleet.Error](err)
	if !ok {
		return again
	}
	switch e.Code {
	case fleet.CodeNotFound:
		return done
	case fleet.CodeGone:
		return deposed
	case fleet.CodeBusy:
		return silence
	case fleet.CodeUnavailable:
		return unavailable(e.Reason)
	case fleet.CodeConflict:
		return conflict(e.Reason)
	case fleet.CodeInvalid, fleet.CodeInternal:
	}
	return again
}

// reasonObservedBehind is why the patcher does not lower observedGeneration: it was shown that the
// reconciler had applied a generation of which there is no record now.
const reasonObservedBehind = "ObservedBehind"

func conflict(reason string) outcome {
	if reason == reasonObservedBehind {
		return rebuild
	}
	return again
}

// Reasons by which the patcher says that it can serve nobody. Any other is about one resource.
const (
	reasonNotReady        = "NotReady"        // it has not read the apiserver, or has lost it
	reasonEpochUnknown    = "EpochUnknown"    // it cannot check who asks
	reasonAPIUnreachable  = "APIUnreachable"  // it cannot reach the apiserver
	reasonAPIUnauthorized = "APIUnauthorized" // the apiserver does not accept its credentials
)

func unavailable(reason string) outcome {
	switch reason {
	case rpc.ReasonNoResponders, rpc.ReasonTimeout, rpc.ReasonDisconnected,
		reasonNotReady, reasonEpochUnknown, reasonAPIUnreachable, reasonAPIUnauthorized:
		return silence
	}
	return again
}

// dispatch delivers items, some at a time. What is not done is given to back, from several goroutines;
// after the first silence the rest is not even tried. It returns how many were given back, and errEpoch
// when our epoch is not the current one.
func dispatch[Item any](ctx context.Context, items []Item, deliver func(context.Context, Item) outcome, back func(Item)) (int, error) {
	var left atomic.Int64
	var quiet atomic.Bool
	pool, ctx := errgroup.WithContext(ctx)
	pool.SetLimit(workers)
	for _, item := range items {
		pool.Go(func() error {
			o := silence
			if !quiet.Load() && ctx.Err() == nil {
				o = deliver(ctx, item)
			}
			switch o {
			case done:
				return nil
			case deposed:
				return errEpoch
			case silence:
				quiet.Store(true)
			case again, rebuild:
			}
			left.Add(1)
			back(item)
			return nil
		})
	}
	err := pool.Wait()
	return int(left.Load()), err
}
