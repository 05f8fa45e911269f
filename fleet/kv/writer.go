package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"harmony.dev/fleet"
)

// collisionTimeout bounds how long a write that collides with others is repeated.
const collisionTimeout = 10 * time.Second

// Write commits operations in order, in atomic batches of at most 1000 messages and 4 MiB, one in
// flight, each on condition that "_epoch" is at the term's epoch. It returns the sequence of the last
// message that was committed, also with an error; 0 when there was none. It may be called by several
// goroutines; their writes go one after the other.
//
// Errors, all about the batch after the last committed one and about those behind it:
//   - [ErrDeposed]: a newer holder exists, or NewEpoch was never called. Nothing was written. The term
//     has ended.
//   - [ErrConflict]: a key is not at the revision that its operation expects. Nothing was written.
//   - [ErrUnknownOutcome]: it may or may not have been written, or may yet be. Every further Write
//     returns this until NewEpoch was called, after which it cannot land any more.
//   - any other: it cannot be written as it is, and was not.
func (t *Term) Write(ctx context.Context, ops []Write) (last uint64, err error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	epoch, err := t.mayWrite()
	if err != nil {
		return 0, fmt.Errorf("write to bucket %s: %w", t.cfg.Bucket.name, err)
	}
	for _, op := range ops {
		if err := op.validate(); err != nil {
			return 0, fmt.Errorf("write to bucket %s: %w", t.cfg.Bucket.name, err)
		}
	}
	for _, run := range batches(t.cfg.Bucket.name, epoch, ops) {
		sequence, err := t.commit(ctx, epoch, run)
		if err != nil {
			return last, fmt.Errorf("write %d keys to bucket %s: %w", len(run), t.cfg.Bucket.name, t.outcome(ctx, epoch, run, err))
		}
		last = sequence
	}
	return last, nil
}

// mayWrite returns the epoch under which may be written now.
func (t *Term) mayWrite() (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.held(), t.epoch == 0: // also before a process that was frozen was told
		return 0, ErrDeposed
	case t.unsure:
		return 0, fmt.Errorf("%w for an earlier write: a new epoch must be taken first", ErrUnknownOutcome)
	}
	return t.epoch, nil
}

// commit writes one batch and repeats it while it collides with other writes to the stream.
func (t *Term) commit(ctx context.Context, epoch uint64, ops []Write) (uint64, error) {
	msgs := fencedMessages(t.cfg.Bucket.name, epoch, ops)
	if err := t.checkSizes(msgs); err != nil {
		return 0, err
	}
	deadline := time.Now().Add(collisionTimeout)
	for {
		sequence, err := t.send(ctx, msgs)
		if err == nil || !collided(err) || ctx.Err() != nil || time.Now().After(deadline) {
			return sequence, err
		}
		t.refusals.collided.Add(1)
		t.breathe(ctx)
	}
}

// checkSizes refuses a message that the server would drop without a word, which it does in a batch.
func (t *Term) checkSizes(msgs []*nats.Msg) error {
	most := min(int(t.cfg.Bucket.nc.MaxPayload()), maxValueSize(t.cfg.Bucket.name)+headerRoom)
	for _, m := range msgs {
		if n := size(m) + batchOverhead; n > most {
			return fmt.Errorf("%w: %s has %d bytes with headers, at most %d are allowed", fleet.ErrInvalid, m.Subject, n, most)
		}
	}
	return nil
}

// send publishes the messages, as a batch if there are several, and waits for the commit.
func (t *Term) send(ctx context.Context, msgs []*nats.Msg) (uint64, error) {
	nc := t.cfg.Bucket.nc
	if len(msgs) > 1 {
		number(nuid.Next(), msgs)
	}
	final := len(msgs) - 1
	for _, m := range msgs[:final] {
		if err := nc.PublishMsg(m); err != nil {
			// Without its commit the batch is dropped by the server.
			return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		}
	}
	ack, err := publish(ctx, nc, msgs[final])
	return ack.Sequence, err
}

// outcome says what an error means for the caller, and for the term.
func (t *Term) outcome(ctx context.Context, epoch uint64, ops []Write, err error) error {
	switch {
	case refused(err):
		return t.refusal(ctx, epoch, ops, err)
	case errors.Is(err, ErrUnknownOutcome):
		t.doubt()
	case errors.Is(err, ErrBucketMissing), collided(err):
		// Nothing was written; but a bucket that comes back, or a stream that is so busy, is no place
		// to go on with the present plan.
		t.doubt()
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return err
}

// refusal tells which of the conditions did not hold: the fence or one on a key.
func (t *Term) refusal(ctx context.Context, epoch uint64, ops []Write, refusal error) error {
	if conditional(ops) {
		now, err := t.cfg.Bucket.Revision(ctx, fleet.KeyEpoch)
		if err != nil {
			t.doubt()
			return fmt.Errorf("%w: a condition did not hold, and which is not known: %w", ErrUnknownOutcome, err)
		}
		if now == epoch {
			return fmt.Errorf("%w (%w)", ErrConflict, refusal)
		}
	}
	t.refusals.deposed.Add(1)
	t.depose()
	return fmt.Errorf("%w (%w)", ErrDeposed, refusal)
}

func conditional(ops []Write) bool {
	for _, op := range ops {
		if op.Expect != nil {
			return true
		}
	}
	return false
}
