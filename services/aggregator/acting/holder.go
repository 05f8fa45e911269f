package acting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/panics"
	"harmony.dev/services/aggregator/resync"
	"harmony.dev/services/aggregator/view"
)

// Config is what a Holder works with.
type Config struct {
	View    *view.View
	Data    *nats.Conn // for requests to agents
	Control *nats.Conn // for requests to the patcher
	Buckets map[string]*kv.Bucket
	Log     *slog.Logger
	Metrics *Metrics

	Tick time.Duration
	// HandBackAfter is how long the lease is kept while the sources are not in view. Another replica may
	// see them.
	HandBackAfter time.Duration
	// Refresh is for how long an acknowledged status is relied on at most. It is sent again after half of
	// it or more.
	Refresh time.Duration
	// RebuildFor is for how long it is no trouble that statuses wait for what was lost.
	RebuildFor  time.Duration
	OrphanAfter time.Duration
	DeviceRate  float64 // writes of Devices a second
	DeviceBurst int
	Resync      resync.Config
	ResyncRate  float64 // requests to agents a second
}

// Holder acts in each term of the lease.
type Holder struct {
	cfg Config

	flushed  atomic.Bool // every status was delivered once in this term, but for those in rebuild
	rebuild  account     // statuses that wait for what is being rebuilt
	statuses account     // that could not be delivered
	devices  account     // that could not be written
	acting   atomic.Bool
}

// NewHolder returns a Holder whose Act is given to an elector.
func NewHolder(c Config) *Holder { return &Holder{cfg: c} }

// errEpoch says that the patcher knows another epoch than ours.
var errEpoch = errors.New("the patcher does not accept our epoch")

// Act acts under one epoch after the other until ctx is done or the lease is lost.
func (h *Holder) Act(ctx context.Context, t *kv.Term) error {
	h.acting.Store(true)
	defer h.acting.Store(false)
	for {
		epoch, err := t.NewEpoch(ctx)
		if err != nil {
			return err
		}
		h.cfg.Log.Info("acting", "epoch", epoch)
		err = h.under(ctx, t.Held, fleet.Sender{Service: fleet.ServiceAggregator, Epoch: epoch})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, errEpoch):
			return err
		}
		h.cfg.Log.Warn("epoch refused", "epoch", epoch, "err", err)
		rest(ctx, h.cfg.Tick)
	}
}

// The loops, as they are named in metrics and after a panic.
const (
	loopStatuses = "statuses"
	loopDevices  = "devices"
	loopSweep    = "sweep"
	loopCaller   = "caller"
	loopSight    = "sight"
)

// under acts under one epoch. It returns when ctx is done, when the lease is no longer held, or when one of
// the loops cannot go on.
func (h *Holder) under(ctx context.Context, held func() bool, sender fleet.Sender) error {
	h.flushed.Store(false)
	for _, a := range []*account{&h.rebuild, &h.statuses, &h.devices} {
		a.set(0, time.Now())
	}
	loops, ctx := errgroup.WithContext(ctx)
	for name, tick := range map[string]func(context.Context) error{
		loopStatuses: newStatuses(h, sender).tick,
		loopDevices:  newDevices(h, sender).tick,
		loopSweep:    newSweep(h, sender).tick,
		loopCaller:   newCaller(h).tick,
		loopSight:    newSight(h).tick,
	} {
		loops.Go(func() error {
			measured := h.cfg.Metrics.ticked(name, tick)
			return panics.Guard(ctx, name, func(ctx context.Context) error { return every(ctx, h.cfg.Tick, held, measured) })
		})
	}
	return loops.Wait()
}

// every calls f at once and then every d, until ctx is done, it returns an error, or the lease is no longer
// held. Each time it looks at the lease itself: in a process that was paused ctx may not know yet, and what
// is asked of agents no epoch fences.
func every(ctx context.Context, d time.Duration, held func() bool, f func(context.Context) error) error {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		if !held() {
			return kv.ErrDeposed
		}
		if err := f(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Converging reports whether this instance holds the lease and has not delivered every status once.
// Those that Waiting tells of do not count.
func (h *Holder) Converging() bool { return h.acting.Load() && !h.flushed.Load() }

// Waiting says which statuses wait until what was lost is rebuilt. When that takes too long,
// StatusTrouble says so instead: whoever should rebuild it does not.
func (h *Holder) Waiting() []fleet.Reason {
	n, age, _ := h.rebuild.get(time.Now())
	if n == 0 || age >= h.cfg.RebuildFor || !h.acting.Load() {
		return nil
	}
	return []fleet.Reason{{Reason: "Rebuilding", Message: fmt.Sprintf("%d statuses wait until what was lost is rebuilt", n)}}
}

// StatusTrouble says why statuses cannot be delivered, nil when they can.
func (h *Holder) StatusTrouble() *fleet.Reason {
	n, why := lasting(h.statuses.get(time.Now()))
	if late, age, lost := h.rebuild.get(time.Now()); late > 0 && age >= h.cfg.RebuildFor {
		n += late
		if why == nil {
			why = lost
		}
	}
	return h.trouble("StatusesWait", "%d statuses could not be delivered and are tried again: %s", n, why)
}

// DeviceTrouble says why Devices cannot be written, nil when they can.
func (h *Holder) DeviceTrouble() *fleet.Reason {
	n, why := lasting(h.devices.get(time.Now()))
	return h.trouble("DevicesWait", "%d devices could not be written and are tried again: %s", n, why)
}

// conflictFor is for how long conflicts are no trouble: somebody else wrote to the resource, or the patcher has not
// seen its own last write yet, and the next attempt finds it as it is.
const conflictFor = 3 * time.Second

// lasting returns what of an account is trouble: all of it, but for a conflict that is young.
func lasting(n int, age time.Duration, why error) (int, error) {
	if fleet.CodeOf(why) == fleet.CodeConflict && age < conflictFor {
		return 0, nil
	}
	return n, why
}

func (h *Holder) trouble(reason, format string, n int, why error) *fleet.Reason {
	if n == 0 || why == nil || !h.acting.Load() {
		return nil
	}
	return &fleet.Reason{Reason: reason, Message: fmt.Sprintf(format, n, why)}
}
