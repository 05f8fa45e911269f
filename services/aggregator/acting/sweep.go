package acting

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/aggregator/garbage"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/view"
)

const (
	// keysPerTick is about how many keys are deleted at most in one tick.
	keysPerTick = 500
	// releaseMost is the longest pause between two requests to release a finalizer.
	releaseMost = 30 * time.Second
)

// sweep removes garbage and lets Devices go under one epoch.
type sweep struct {
	h         *Holder
	sender    fleet.Sender
	collector *garbage.Collector
	releases  map[string]release // by uid
}

// release is when to ask again for a finalizer that was asked for.
type release struct {
	next  time.Time
	pause time.Duration
	still bool
}

func newSweep(h *Holder, sender fleet.Sender) *sweep {
	return &sweep{h: h, sender: sender, collector: garbage.NewCollector(h.cfg.OrphanAfter), releases: map[string]release{}}
}

// tick does what may be done now.
func (w *sweep) tick(ctx context.Context) error {
	var plan garbage.Plan
	var now time.Time
	w.h.cfg.View.Read(func(s *projection.State, m view.Moment) {
		now = m.Now
		if !m.Whole {
			w.collector.Pause()
			return
		}
		plan = w.collector.Plan(m.Now, s, m.Whole, keysPerTick)
		if !m.Served {
			plan.Departures = nil // they end with a request to the patcher
		}
	})
	pool, poolCtx := errgroup.WithContext(ctx)
	pool.SetLimit(workers)
	for _, k := range plan.Deletes {
		pool.Go(func() error {
			w.remove(poolCtx, k)
			return nil
		})
	}
	for _, d := range plan.Departures {
		if !w.due(now, d.UID, len(d.Keys) > 0) {
			continue
		}
		pool.Go(func() error { return w.depart(poolCtx, d) })
	}
	w.tidy()
	return pool.Wait()
}

// due reports whether a departure is to be carried out now: at once while it has keys, and with growing
// pauses afterwards, when only the finalizer is left to be asked for.
func (w *sweep) due(now time.Time, uid string, hasKeys bool) bool {
	r := w.releases[uid]
	r.still = true
	due := hasKeys || !now.Before(r.next)
	if due {
		r.pause = min(max(2*r.pause, time.Second), releaseMost)
		r.next = now.Add(r.pause)
	}
	w.releases[uid] = r
	return due
}

// tidy forgets the releases of devices that are gone.
func (w *sweep) tidy() {
	for uid, r := range w.releases {
		if !r.still {
			delete(w.releases, uid)
			continue
		}
		r.still = false
		w.releases[uid] = r
	}
}

// depart deletes the keys of a device that is being deleted and then asks for its finalizer.
func (w *sweep) depart(ctx context.Context, d garbage.Departure) error {
	for _, k := range d.Keys {
		if !w.remove(ctx, k) {
			return nil // it has changed, or cannot be reached: look again at the next tick
		}
	}
	o, err := send(ctx, w.h.cfg.Control, fleet.FinalizerRelease, fleet.FinalizerReleaseRequest{
		Sender: w.sender, Kind: fleet.KindDevice, Name: string(d.Device), UID: d.UID, Finalizer: fleet.FinalizerDeviceData,
	})
	w.h.cfg.Metrics.sent("finalizer", o)
	if err != nil {
		w.h.cfg.Log.Debug("finalizer not released", "device", d.Device, "err", err)
	}
	if o == deposed {
		return errEpoch
	}
	return nil
}

// remove deletes a key that is still as it was seen.
func (w *sweep) remove(ctx context.Context, k garbage.Key) bool {
	err := w.h.cfg.Buckets[k.Bucket].DeleteIf(ctx, k.Key, k.Revision)
	switch {
	case err == nil:
		w.h.cfg.Metrics.Removed.Inc()
		w.h.cfg.Log.Debug("key removed", "bucket", k.Bucket, "key", k.Key, "revision", k.Revision)
	case errors.Is(err, kv.ErrConflict), errors.Is(err, context.Canceled):
	default:
		w.h.cfg.Log.Warn("key not removed", "bucket", k.Bucket, "key", k.Key, "revision", k.Revision, "err", err)
	}
	return err == nil
}
