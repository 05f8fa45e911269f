package kv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Term is one possession of the lease. It is safe for concurrent use.
//
// The revision of the lease changes with each renewal and is the condition under which an epoch is
// taken, so the two go one after the other, under possession. Everything that is sent under it is
// given up when the lease may have run out.
type Term struct {
	cfg    ElectorConfig
	holder string // unique name of the elector
	name   string // unique name of the term, in the values of lease and epoch
	end    context.CancelCauseFunc

	refusals *refusals // of the elector: over all its terms

	possession sync.Mutex // serialises what depends on the lease's revision
	revision   uint64     // of the lease
	loose      bool       // an epoch may yet be written under this revision: renew before the next one

	writing sync.Mutex // one write in flight

	mu       sync.Mutex
	deadline time.Time // own clock: until then nobody else can hold the lease
	over     bool
	epoch    uint64
	unsure   bool // the outcome of an own write is unknown and no epoch was taken since
}

// margin is how much earlier than the lease the possession ends, so that what is under way stops
// before another holder starts.
func margin(ttl time.Duration) time.Duration { return ttl / 10 }

// Held reports whether the lease is still one's own, by one's own clock. True is no proof: a process
// may be paused at any point. The fence is.
func (t *Term) Held() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held()
}

// held is Held, under the lock.
func (t *Term) held() bool { return !t.over && time.Now().Before(t.deadline) }

// Epoch returns the fencing token taken last, 0 when there is none yet.
func (t *Term) Epoch() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.epoch
}

// NewEpoch writes "_epoch" on condition that "_lease" is at one's own revision, and returns its
// revision: the new fencing token. From then on the server refuses every write under an older token,
// also one's own that is still under way. It returns ErrDeposed when the lease is no longer one's own.
//
// When the outcome is unknown the lease is renewed and the epoch written again: the renewal moves the
// lease to another revision, so the first attempt cannot come into force after the second.
func (t *Term) NewEpoch(ctx context.Context) (uint64, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.doubt()
	for {
		epoch, err := t.takeEpoch(ctx)
		if err == nil {
			t.mu.Lock()
			t.epoch, t.unsure = epoch, false
			t.mu.Unlock()
			return epoch, nil
		}
		if errors.Is(err, ErrDeposed) || ctx.Err() != nil {
			return 0, fmt.Errorf("take an epoch of bucket %s: %w", t.cfg.Bucket.name, err)
		}
		t.breathe(ctx)
	}
}

// takeEpoch makes one attempt. Any error but ErrDeposed calls for another.
func (t *Term) takeEpoch(ctx context.Context) (uint64, error) {
	t.possession.Lock()
	defer t.possession.Unlock()
	ctx, cancel, err := t.whileHeld(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	if t.loose {
		if err := t.renewLocked(ctx); err != nil {
			return 0, err
		}
	}
	m, err := epochMessage(t.cfg, t.name, t.revision)
	if err != nil {
		return 0, err
	}
	ack, err := publish(ctx, t.cfg.Bucket.nc, m)
	switch {
	case err == nil:
		return ack.Sequence, nil
	case refused(err):
		return 0, t.adopt(ctx, err)
	case errors.Is(err, ErrUnknownOutcome):
		t.loose = true
	}
	return 0, err
}

// renew extends the lease.
func (t *Term) renew(ctx context.Context) error {
	t.possession.Lock()
	defer t.possession.Unlock()
	ctx, cancel, err := t.whileHeld(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return t.renewLocked(ctx)
}

// renewLocked extends the lease once. The new deadline counts from before the message was sent: the
// server starts its own clock later.
func (t *Term) renewLocked(ctx context.Context) error {
	m, err := leaseMessage(t.cfg, t.holder, t.name, t.revision)
	if err != nil {
		return err
	}
	sent := time.Now()
	ack, err := publish(ctx, t.cfg.Bucket.nc, m)
	if refused(err) {
		return t.adopt(ctx, err)
	}
	if err != nil {
		return fmt.Errorf("renew the lease of bucket %s: %w", t.cfg.Bucket.name, err)
	}
	t.extend(sent, ack.Sequence)
	return nil
}

// errTryAgain says that nothing is known against another attempt.
var errTryAgain = errors.New("the lease was renewed by an earlier attempt")

// adopt is called when the lease is not at the revision expected. Most often it is lost; but when the
// answer to an earlier renewal got lost it is still one's own, at a revision one does not know. The
// deadline stays as it was: it is not known when that renewal was sent. A lease whose revision went back
// came with an old state of the stream: what this term knew is gone, and another has to begin.
func (t *Term) adopt(ctx context.Context, refusal error) error {
	l, err := readLease(ctx, t.cfg.Bucket)
	if err != nil {
		return err
	}
	if !l.held || l.holder != t.holder || l.revision < t.revision {
		t.depose()
		return fmt.Errorf("%w (%w)", ErrDeposed, refusal)
	}
	t.revision = l.revision
	return errTryAgain
}

// release gives the lease back so that another can have it at once. When that does not succeed the
// lease runs out.
func (t *Term) release(ctx context.Context) error {
	t.possession.Lock()
	defer t.possession.Unlock()
	defer t.depose()
	ctx, cancel, err := t.whileHeld(ctx)
	if err != nil {
		return nil // it is not one's own any more
	}
	defer cancel()
	for {
		_, err := publish(ctx, t.cfg.Bucket.nc, releaseMessage(t.cfg.Bucket.name, t.revision))
		if refused(err) {
			err = t.adopt(ctx, err)
		}
		if err == nil || errors.Is(err, ErrDeposed) {
			return nil
		}
		if !collided(err) && !errors.Is(err, errTryAgain) {
			return fmt.Errorf("release the lease of bucket %s: %w", t.cfg.Bucket.name, err)
		}
		t.breathe(ctx)
	}
}

// whileHeld bounds what depends on the lease by the time for which it is surely one's own.
func (t *Term) whileHeld(ctx context.Context) (context.Context, context.CancelFunc, error) {
	t.mu.Lock()
	deadline, held := t.deadline, t.held()
	t.mu.Unlock()
	if !held {
		return nil, nil, ErrDeposed
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	return ctx, cancel, nil
}

// extend notes that the lease was written, at this revision.
func (t *Term) extend(sent time.Time, revision uint64) {
	t.revision, t.loose = revision, false
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline = sent.Add(t.cfg.TTL - margin(t.cfg.TTL))
}

// depose ends the term and the context of whoever acts in it.
func (t *Term) depose() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.end(ErrDeposed)
}

// doubt notes that the outcome of an own write is unknown: only a new epoch helps.
func (t *Term) doubt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsure = true
}

// remaining returns for how long the lease is surely one's own.
func (t *Term) remaining() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(t.deadline)
}

// breathe waits a moment between two attempts.
func (t *Term) breathe(ctx context.Context) {
	rest(ctx, 5*time.Millisecond+rand.N(20*time.Millisecond))
}

// rest waits, or until ctx is done.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
