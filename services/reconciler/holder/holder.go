package holder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/panics"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
)

// View is what the holder goes by, a [view.View].
type View interface {
	Plan() (plan.Plan, view.Now)
	Do(f func(*plan.State, view.Now))
	WaitOwn(ctx context.Context, seq uint64) error
	CatchUp(ctx context.Context) error
	Changed() <-chan struct{}
}

// Config says what the holder works with.
type Config struct {
	View    View
	Elector *kv.Elector
	Data    *nats.Conn // devices ask here
	Control *nats.Conn // the patcher is asked here
	// IncompleteFor is how long after the creation of either stream a snapshot does not allow a device
	// to remove anything: a stream that was lost may not be rebuilt yet.
	IncompleteFor time.Duration
	// HandBackAfter is how long the lease is kept while the buckets, or an own write, are not in view.
	// Another replica may see them.
	HandBackAfter time.Duration
	Metrics       *Metrics
	Log           *slog.Logger
}

// Holder acts while it holds the lease.
type Holder struct {
	cfg       Config
	asker     *asker
	took      time.Duration // by the last plan
	approvals chan approval
	answering atomic.Bool // a plan was written under this epoch: devices can be answered
	behind    atomic.Bool // a plan is not written yet
	refusals  refusals
	underWay  underWay
	panics    chan *rpc.PanicError // holds the first panic while a device was answered
}

// New returns a holder.
func New(cfg Config) *Holder {
	return &Holder{
		cfg: cfg, asker: newAsker(cfg.Log), approvals: make(chan approval),
		panics: make(chan *rpc.PanicError, 1),
	}
}

// Run campaigns for the lease and acts while it has it, until ctx is done. [Holder.Watch] must run beside it.
func (h *Holder) Run(ctx context.Context) error {
	err := h.cfg.Elector.Run(ctx, h.act)
	select {
	case p := <-h.panics: // after Watch had ended
		return p
	default:
		return err
	}
}

// Watch waits until ctx is done. It returns sooner, with a [rpc.PanicError], when answering a device panicked:
// the process is to end and to say so first, which the loop of Run, in the middle of a write, could not do
// in time.
func (h *Holder) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case p := <-h.panics:
		return p
	}
}

func (h *Holder) panicked(p *rpc.PanicError) {
	select {
	case h.panics <- p:
	default: // the first one ends the process
	}
}

// Converging reports whether this instance holds the lease and has not written its plan yet.
func (h *Holder) Converging() bool { return h.cfg.Elector.Term() != nil && h.behind.Load() }

// Reason says what the holder cannot write, nil while there is nothing.
func (h *Holder) Reason() *fleet.Reason {
	if h.cfg.Elector.Term() == nil {
		return nil
	}
	return h.refusals.reason()
}

// act is one possession of the lease.
func (h *Holder) act(ctx context.Context, t *kv.Term) error {
	h.behind.Store(true)
	h.refusals.reset()
	defer h.cfg.Metrics.idle()
	stop, err := h.answer(t)
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_ = panics.Guard(ctx, "asker", h.asker.run) // a bug ends the process
	}()
	defer func() {
		cancel()
		<-asked
	}()
	for {
		epoch, err := t.NewEpoch(ctx)
		if err != nil {
			return err
		}
		err = h.epoch(ctx, t, epoch)
		if !errors.Is(err, kv.ErrUnknownOutcome) && !errors.Is(err, kv.ErrPassEnded) {
			return err
		}
		h.cfg.Log.Info("starting again under a new epoch", "epoch", epoch, "err", err)
	}
}

// epoch plans and writes under one fencing token. It always returns an error: why that ended.
func (h *Holder) epoch(ctx context.Context, t *kv.Term, epoch uint64) error {
	defer h.pause()
	if err := h.reach(ctx, epoch); err != nil {
		return err
	}
	pass := uint64(0)
	synced := time.Now()
	for {
		p, now := h.plan()
		if now.Synced && p.Doubtful() {
			if err := h.catchUp(ctx); err != nil {
				return err
			}
			p, now = h.plan()
		}
		if pass == 0 {
			pass = now.Pass
		}
		switch {
		case now.Pass != pass || now.Seq < epoch:
			return kv.ErrPassEnded
		case !now.Synced:
			h.pause()
			left := time.Until(synced.Add(h.cfg.HandBackAfter))
			if left <= 0 {
				return errBlind
			}
			if err := h.wait(ctx, t, left); err != nil {
				return err
			}
			continue
		}
		synced = time.Now()
		h.underWay.clear() // also of what ended under an earlier epoch with an unknown outcome
		h.asker.want(h.releases(t, p.Releases))
		wake := p.Wake
		if p.Groups, wake = h.refusals.admit(p.Groups, now.Time, wake); !p.Empty() {
			if err := h.write(ctx, t, p, now.Time); err != nil {
				return err
			}
			h.answering.Store(true) // each device's own keys are looked at when it asks
			continue
		}
		h.behind.Store(false)
		h.answering.Store(true)
		if err := h.wait(ctx, t, until(now.Time, wake)); err != nil {
			return err
		}
	}
}

// plan computes and measures.
func (h *Holder) plan() (plan.Plan, view.Now) {
	began := time.Now()
	p, now := h.cfg.View.Plan()
	h.took = time.Since(began)
	h.cfg.Metrics.planned(h.took, &p)
	return p, now
}

// pause stops everything that goes by the view.
func (h *Holder) pause() {
	h.behind.Store(true)
	h.answering.Store(false)
	h.asker.want(nil)
}

// errBlind ends a term whose holder cannot see.
var errBlind = errors.New("the buckets or an own write are not in view: another replica may see them")

// reach waits until desired-state is in view up to an own write, no longer than the lease is kept blind.
func (h *Holder) reach(ctx context.Context, seq uint64) error {
	return h.blindly(ctx, func(ctx context.Context) error {
		if err := h.cfg.View.WaitOwn(ctx, seq); err != nil {
			return fmt.Errorf("read up to the own write %d: %w", seq, err)
		}
		return nil
	})
}

// blindly calls f, for which the lease is kept no longer than it is kept blind.
func (h *Holder) blindly(ctx context.Context, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, h.cfg.HandBackAfter)
	defer cancel()
	err := f(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return errBlind
	}
	return err
}

// catchUp waits until the mirror is in view as it is now, no longer than the lease is kept blind. What is deleted
// because the mirror has been quiet needs that: a process that was frozen, with its machine perhaps, has not looked at
// what came in meanwhile.
func (h *Holder) catchUp(ctx context.Context) error {
	return h.blindly(ctx, func(ctx context.Context) error {
		for {
			err := h.cfg.View.CatchUp(ctx)
			switch {
			case err == nil:
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			}
			h.cfg.Log.Debug("the mirror is not in view up to what it is now", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(catchUpPause):
			}
		}
	})
}

// catchUpPause is between two attempts to learn what the mirror has.
const catchUpPause = 100 * time.Millisecond

// Changes are gathered before they are planned together: a moment, or longer when plans take long, so
// that planning leaves most of the time to others.
const (
	debounce    = 10 * time.Millisecond
	debounceMax = time.Second
)

// wait waits for a change of the view, until a plan wakes by itself (0: never), or for an approval,
// which it carries out.
func (h *Holder) wait(ctx context.Context, t *kv.Term, wake time.Duration) error {
	var alarm <-chan time.Time
	if wake > 0 {
		timer := time.NewTimer(wake)
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-alarm:
		return nil
	case a := <-h.approvals:
		return h.approve(ctx, t, a)
	case <-h.cfg.View.Changed():
	}
	timer := time.NewTimer(min(max(debounce, 4*h.took), debounceMax))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// until is the time from now to at, at least a moment; 0 when at is not set.
func until(now, at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(at.Sub(now), debounce)
}
