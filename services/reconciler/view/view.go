// Package view is the reconciler's hot view: a [plan.State] that two reflectors keep in step with
// fleet-resources and desired-state. Every replica has one, holder or not.
//
// The state is under one lock. Nothing derived from it may be written while a source is not synced, so
// [View.Plan] and [View.Do] hand it out together with that fact, as of the same moment. Time is that of
// the NATS servers: each message carries its stamp, and in between the process's own clock goes on from the last. Where
// a stamp is further than that clock allows, no time has passed, and nothing that waits has waited.
package view

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/reconciler/plan"
)

// Config says what to view.
type Config struct {
	Mirror  *kv.Bucket // fleet-resources, on the control connection
	Desired *kv.Bucket // desired-state, on the data connection: created if it is missing
	Brake   plan.Brake
	Log     *slog.Logger
}

// View is both buckets and what follows from them. It is safe for concurrent use.
type View struct {
	mirror, desired *source
	changed         chan struct{} // holds a token after a change
	log             *slog.Logger

	mu    sync.Mutex
	state *plan.State
	clock *clock
}

// New returns a view that Run of its two reflectors feeds.
func New(cfg Config) *View {
	v := &View{changed: make(chan struct{}, 1), log: cfg.Log, state: plan.New(cfg.Brake), clock: newClock(time.Now)}
	v.mirror = v.newSource(cfg.Mirror, false, cfg.Log, (*plan.State).ApplyMirror)
	v.desired = v.newSource(cfg.Desired, true, cfg.Log, (*plan.State).ApplyDesired)
	return v
}

// RunMirror keeps the view of fleet-resources until ctx is done.
func (v *View) RunMirror(ctx context.Context) error { return v.mirror.reflector.Run(ctx) }

// RunDesired keeps the view of desired-state until ctx is done.
func (v *View) RunDesired(ctx context.Context) error { return v.desired.reflector.Run(ctx) }

// Changed holds a token when something has changed since it was taken last. It has one reader: the
// holder's loop.
func (v *View) Changed() <-chan struct{} { return v.changed }

// Synced reports whether both buckets are in view.
func (v *View) Synced() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.syncedLocked()
}

func (v *View) syncedLocked() bool { return v.mirror.synced && v.desired.synced }

// Now is a moment of the view: what it says holds for the state handed out with it.
type Now struct {
	Time    time.Time // on the server's clock
	Synced  bool      // both buckets are in view
	Seq     uint64    // desired-state is in view up to this sequence
	Pass    uint64    // number of the reading of desired-state
	Mirror  time.Time // since when fleet-resources is what it is: it was created or set back then
	Desired time.Time // the same of desired-state, or when values in view were found to be gone, as after a purge
}

// Do calls f with the state, alone. f must not keep it.
func (v *View) Do(f func(s *plan.State, now Now)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(v.state, v.now())
}

// Plan returns what is to be written now.
func (v *View) Plan() (p plan.Plan, now Now) {
	v.Do(func(s *plan.State, n Now) { p, now = s.Compute(n.Time), n })
	return p, now
}

func (v *View) now() Now {
	return Now{
		Time: v.clock.Now(), Synced: v.syncedLocked(), Seq: v.desired.seq, Pass: v.desired.pass.Number,
		Mirror: v.mirror.young, Desired: v.lastLoss(),
	}
}

// lastLoss is since when desired-state is what it is.
func (v *View) lastLoss() time.Time { return newest(v.desired.young, v.state.Lost()) }

func newest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// WaitOwn waits until desired-state is in view up to a sequence, see [kv.Reflector.WaitSeq].
func (v *View) WaitOwn(ctx context.Context, seq uint64) error {
	return v.desired.reflector.WaitSeq(ctx, seq)
}

// CatchUp waits until fleet-resources is in view up to what it is now, see [kv.Reflector.CatchUp].
func (v *View) CatchUp(ctx context.Context) error { return v.mirror.reflector.CatchUp(ctx) }

// MirrorSource and DesiredSource return the sources for health.
func (v *View) MirrorSource() fleet.Source { return v.mirror.health() }

// DesiredSource returns the source for health.
func (v *View) DesiredSource() fleet.Source { return v.desired.health() }

func (v *View) notify() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}
