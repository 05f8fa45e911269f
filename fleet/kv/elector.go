package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"harmony.dev/fleet"
	"harmony.dev/fleet/panics"
)

// campaignEvery is how often at least a standby looks whether the lease is free.
const campaignEvery = 500 * time.Millisecond

// ElectorConfig says which lease to campaign for.
type ElectorConfig struct {
	Bucket   *Bucket
	Own      bool          // Ensure the bucket first; else wait for it
	Instance string        // the name of this replica, for people
	TTL      time.Duration // of the lease, rounded up to whole seconds; 0 means 10 s
	Eligible func() bool   // campaign only while true; nil means always
	Log      *slog.Logger
}

// Elector campaigns for the lease of a bucket and acts while it holds it.
type Elector struct {
	cfg    ElectorConfig
	holder string // unique, unlike the instance

	refusals refusals

	mu     sync.Mutex
	term   *Term
	other  string // instance that held the lease when it was looked at last
	reason *fleet.Reason
}

// NewElector returns an elector that Run starts. Bucket must be set.
func NewElector(cfg ElectorConfig) *Elector {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("bucket", cfg.Bucket.Name())
	cfg.TTL = orDefault(cfg.TTL, 10*time.Second)
	cfg.TTL = (cfg.TTL + time.Second - 1).Truncate(time.Second)
	if cfg.Eligible == nil {
		cfg.Eligible = func() bool { return true }
	}
	return &Elector{cfg: cfg, holder: nuid.Next()}
}

// Health returns the lease as this instance sees it.
func (e *Elector) Health() *fleet.LeaseHealth {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := &fleet.LeaseHealth{Bucket: e.cfg.Bucket.name, Holder: e.other}
	if e.term != nil && e.term.Held() {
		h.Held, h.Holder, h.Epoch = true, e.cfg.Instance, e.term.Epoch()
	}
	return h
}

// Reason says why the lease cannot be had, nil while there is nothing wrong. That another instance
// holds it is not wrong.
func (e *Elector) Reason() *fleet.Reason {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reason
}

// Term returns the current possession, nil while there is none. It is there from before act is called
// until after it has returned; ask Held for whether it still counts.
func (e *Elector) Term() *Term {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.term == nil || !e.term.Held() {
		return nil
	}
	return e.term
}

// Run campaigns until ctx is done and runs act in each possession of the lease, in the caller's
// goroutine. The context of act ends when the lease is lost or ctx is done. When act returns the
// lease is given back; with an error it is logged, and another replica goes first: the rest grows with each
// term that fails soon. Run returns nil when ctx is done, act has returned and the lease is released.
func (e *Elector) Run(ctx context.Context, act func(ctx context.Context, t *Term) error) error {
	wait := backoff{least: time.Second, most: 15 * time.Second}
	for ctx.Err() == nil {
		term, actCtx, err := e.campaign(ctx)
		e.explain(err)
		if term == nil {
			rest(ctx, e.campaignPause())
			continue
		}
		began := time.Now()
		err = e.hold(ctx, actCtx, term, act)
		if isNoFault(err, time.Since(began)) {
			wait.reset()
		}
		if err != nil && ctx.Err() == nil {
			e.cfg.Log.Warn("term ended", "err", err)
		}
		if ctx.Err() == nil {
			rest(ctx, wait.next(wait.most))
		}
	}
	return nil
}

// isNoFault reports whether the rest after a term does not grow: the term went well for long, or it ended because the
// lease was lost. What else ends a term may end the next one as soon.
func isNoFault(err error, lasted time.Duration) bool {
	return lasted > time.Minute || errors.Is(err, ErrDeposed)
}

// campaignPause spreads the looks of several standbys.
func (e *Elector) campaignPause() time.Duration {
	most := min(campaignEvery, e.cfg.TTL/4)
	return most/2 + rand.N(most/2)
}

// campaign takes the lease if it is free. It returns no term and no error while another holds it.
func (e *Elector) campaign(ctx context.Context) (*Term, context.Context, error) {
	if !e.cfg.Eligible() {
		return nil, nil, nil
	}
	l, err := readLease(ctx, e.cfg.Bucket)
	if err != nil && !errors.Is(err, ErrBucketMissing) {
		return nil, nil, err
	}
	e.setOther(l)
	if err == nil && l.held && l.holder != e.holder { // one's own is what an earlier term left behind
		if !l.expires {
			return nil, nil, &endlessLeaseError{bucket: e.cfg.Bucket.name, instance: l.instance}
		}
		return nil, nil, nil
	}
	if err := e.provision(ctx); err != nil {
		return nil, nil, err
	}
	return e.take(ctx, l.revision)
}

// provision makes sure that the bucket is there, is of this fleet and has what the fence needs.
func (e *Elector) provision(ctx context.Context) error {
	if e.cfg.Own {
		return e.cfg.Bucket.Ensure(ctx)
	}
	return e.cfg.Bucket.Check(ctx)
}

// take writes the lease on condition that it is at revision.
func (e *Elector) take(ctx context.Context, revision uint64) (*Term, context.Context, error) {
	t := &Term{cfg: e.cfg, holder: e.holder, name: nuid.Next(), refusals: &e.refusals}
	m, err := leaseMessage(e.cfg, e.holder, t.name, revision)
	if err != nil {
		return nil, nil, err
	}
	sent := time.Now()
	ack, err := publish(ctx, e.cfg.Bucket.nc, m)
	if refused(err) || collided(err) {
		return nil, nil, nil // another was faster
	}
	if err != nil {
		return nil, nil, fmt.Errorf("take the lease of bucket %s: %w", e.cfg.Bucket.name, err)
	}
	actCtx, end := context.WithCancelCause(ctx)
	t.end = end
	t.extend(sent, ack.Sequence)
	return t, actCtx, nil
}

// hold runs act and keeps the lease meanwhile, also while act finishes after ctx is done.
func (e *Elector) hold(ctx, actCtx context.Context, t *Term, act func(context.Context, *Term) error) error {
	e.setTerm(t)
	defer e.setTerm(nil)
	e.cfg.Log.Info("lease taken")
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		_ = panics.Guard(keeping, "lease", func(ctx context.Context) error { // a bug ends the process
			e.keep(ctx, t)
			return nil
		})
	}()
	defer t.end(nil)
	err := act(actCtx, t)
	stop()
	<-kept
	lost := !t.Held()
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	releaseErr := t.release(releasing)
	switch {
	case lost && ctx.Err() == nil && !errors.Is(err, ErrDeposed):
		return errors.Join(ErrDeposed, err)
	case err != nil:
		return err
	}
	return releaseErr
}

// keep renews the lease every third of its TTL until ctx is done, and ends the term when the lease is
// lost or may be.
func (e *Elector) keep(ctx context.Context, t *Term) {
	every := e.cfg.TTL / 3
	next := every
	for {
		rest(ctx, min(next, t.remaining()))
		if ctx.Err() != nil {
			return
		}
		if !t.Held() {
			t.depose()
			return
		}
		switch err := t.renew(ctx); {
		case err == nil:
			next = every
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrDeposed):
			t.depose()
			return
		case errors.Is(err, errTryAgain):
			next = 0
		default:
			e.cfg.Log.Debug("renewal of the lease did not succeed", "err", err)
			next = e.cfg.TTL / 20
		}
	}
}

func (e *Elector) setTerm(t *Term) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.term, e.other = t, ""
}

func (e *Elector) setOther(l lease) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.other = ""
	if l.held {
		e.other = l.instance
	}
}

// explain keeps the reason why the lease cannot be had, and logs it once.
func (e *Elector) explain(err error) {
	var reason *fleet.Reason
	if endless, ok := errors.AsType[*endlessLeaseError](err); ok {
		reason = &fleet.Reason{Reason: "LeaseWithoutEnd", Message: endless.Error()}
	} else if err != nil && !errors.Is(err, context.Canceled) {
		r := explain(e.cfg.Bucket.name, e.cfg.Own, err)
		reason = &r
	}
	e.mu.Lock()
	before := e.reason
	e.reason = reason
	e.mu.Unlock()
	if reason != nil && (before == nil || *before != *reason) {
		e.cfg.Log.Warn("lease cannot be taken", "reason", reason.Reason, "err", err)
	}
}

// endlessLeaseError says that somebody wrote a lease that never expires.
type endlessLeaseError struct{ bucket, instance string }

func (e *endlessLeaseError) Error() string {
	return fmt.Sprintf("the lease of bucket %s (instance %q) has no TTL and never ends: no instance of the operator wrote it; remove it with: nats kv del %s %s",
		e.bucket, e.instance, e.bucket, fleet.KeyLease)
}
