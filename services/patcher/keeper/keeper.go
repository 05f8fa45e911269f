package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/patcher/kube"
	"harmony.dev/services/patcher/mirror"
)

// debounce is how long a changed resource waits for others to share its batch.
const debounce = 20 * time.Millisecond

// errDisturbed says that the mirror is not what this process made it: it is repaired under a new epoch.
var errDisturbed = errors.New("the mirror was changed by somebody else, or its view was lost")

// errWentBack says that statuses were lost which others believe to be written: they send them again
// under a new epoch.
var errWentBack = errors.New("the apiserver went back to an older state")

// Config says what to mirror where to.
type Config struct {
	Bucket    *kv.Bucket // fleet-resources
	Informers map[kube.Kind]Informer
	Writer    *kube.Writer
	// MaxValue returns how many bytes a value of the mirror may have on this connection.
	MaxValue func() int
	// HandBackAfter is how long the lease is kept while the apiserver is out of sight. Another replica
	// may see it.
	HandBackAfter time.Duration
	Log           *slog.Logger
}

// Keeper keeps the mirror while its process holds the lease, and a view of it always.
type Keeper struct {
	cfg       Config
	view      *view
	reflector *kv.Reflector
	dirty     *dirty
	refused   *refused
	setback   setback
	caughtUp  atomic.Bool
	settled   atomic.Bool
}

// New returns a keeper. [Keeper.Changed] has to be called for each resource that may have changed.
func New(cfg Config) *Keeper {
	k := &Keeper{cfg: cfg, dirty: newDirty(), refused: newRefused(cfg.Log)}
	k.view = newView(cfg.Log, k.dirty.add)
	k.reflector = kv.NewReflector(kv.ReflectorConfig{Bucket: cfg.Bucket, Own: true, View: k.view, Log: cfg.Log})
	return k
}

// Changed says that a resource may have changed.
func (k *Keeper) Changed(kind kube.Kind, name string) { k.dirty.add(ref{kind, name}) }

// WentBack says that the apiserver went back to an older state.
func (k *Keeper) WentBack() { k.view.disturb(errWentBack) }

// Watch keeps the view of the mirror until ctx is done, holder or not.
func (k *Keeper) Watch(ctx context.Context) error { return k.reflector.Run(ctx) }

// Source returns the state of the view for the service's health.
func (k *Keeper) Source() fleet.Source {
	s := k.reflector.Source()
	k.view.aside.Fill(&s)
	return s
}

// FillRefused adds the resources of a kind that are set aside to the kind's source.
func (k *Keeper) FillRefused(s *fleet.Source) { k.refused.fill(s) }

// Reason says why the mirror is not what it has to be, nil when nothing is wrong.
func (k *Keeper) Reason() *fleet.Reason { return k.setback.reason() }

// CaughtUp reports whether this process holds the lease and has read the apiserver since it took it:
// only then it may act on requests.
func (k *Keeper) CaughtUp() bool { return k.caughtUp.Load() }

// Settled reports whether everything known is mirrored. It means something to the holder only.
func (k *Keeper) Settled() bool { return k.settled.Load() }

// act keeps the mirror while the term lasts. It is what the elector runs.
func (k *Keeper) act(ctx context.Context, term *kv.Term) error {
	defer k.refused.reset()
	defer k.setback.clear()
	defer k.cfg.Writer.Forget()
	defer k.caughtUp.Store(false)
	defer k.settled.Store(false)
	defer k.view.under(0)
	ctx, cancel := context.WithCancel(ctx)
	finalizers := k.startFinalizers(ctx)
	defer finalizers.stop()
	defer cancel()
	for {
		err := k.keep(ctx, term, finalizers)
		k.settled.Store(false)
		if ctx.Err() != nil || errors.Is(err, kv.ErrDeposed) {
			return err
		}
		k.cfg.Log.Info("mirror is read and repaired again", "epoch", term.Epoch(), "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(k.setback.note(err)):
		}
	}
}

// keep takes an epoch, makes the mirror whole and keeps it so until something makes a new epoch
// necessary.
func (k *Keeper) keep(ctx context.Context, term *kv.Term, finalizers *finalizers) error {
	epoch, err := term.NewEpoch(ctx)
	if err != nil {
		return fmt.Errorf("take an epoch: %w", err)
	}
	k.view.under(epoch)
	pass := k.reflector.Pass().Number // before the wait: a pass that begins meanwhile is another one
	if err := k.reflector.WaitSeq(ctx, epoch); err != nil {
		return fmt.Errorf("read the mirror up to epoch %d: %w", epoch, err)
	}
	if err := k.relist(ctx); err != nil {
		return err
	}
	k.caughtUp.Store(true)
	if err := k.whole(ctx, term, finalizers, pass); err != nil {
		return err
	}
	k.setback.clear()
	k.cfg.Log.Info("mirror is whole", "epoch", epoch)
	return k.follow(ctx, term, finalizers, pass)
}

// relist reads both kinds by quorum lists that begin now.
func (k *Keeper) relist(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, informer := range k.cfg.Informers {
		group.Go(func() error { return informer.Relist(ctx) })
	}
	return group.Wait()
}

// whole applies the whole difference and then says that the mirror is whole under this epoch: absence then means
// that there is no resource. Before that it tries to make every resource one that can be mirrored.
func (k *Keeper) whole(ctx context.Context, term *kv.Term, finalizers *finalizers, pass uint64) error {
	finalizers.tryAll(ctx, k.all())
	k.view.calm()
	k.dirty.take()
	wants := k.wants(k.all(), finalizers, true)
	writes, err := mirror.Difference(wants, k.view.all(), time.Now())
	if err != nil {
		return err
	}
	synced, err := json.Marshal(fleet.Synced{Epoch: term.Epoch()})
	if err != nil {
		return fmt.Errorf("encode %s: %w", fleet.KeySynced, err)
	}
	ops := append(operations(writes), kv.Write{Key: fleet.KeySynced, Value: synced})
	return k.write(ctx, term, pass, ops)
}

// follow writes what changes, until the mirror is disturbed or ctx is done.
func (k *Keeper) follow(ctx context.Context, term *kv.Term, finalizers *finalizers, pass uint64) error {
	for {
		k.settled.Store(k.dirty.empty())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-k.view.disturbed:
			return d.why
		case <-k.dirty.wake:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(debounce):
		}
		refs := k.dirty.take()
		writes, err := mirror.Difference(k.wants(refs, finalizers, false), k.view.some(refs), time.Now())
		if err != nil {
			return err
		}
		if err := k.write(ctx, term, pass, operations(writes)); err != nil {
			return err
		}
	}
}

// write commits and waits until the view has it, so that the next difference is taken from there.
func (k *Keeper) write(ctx context.Context, term *kv.Term, pass uint64, ops []kv.Write) error {
	if k.reflector.Pass().Number != pass || !k.reflector.Synced() {
		return errDisturbed
	}
	if len(ops) == 0 {
		return nil
	}
	last, err := term.Write(ctx, ops)
	if err != nil {
		return &writeError{err}
	}
	if err := k.reflector.WaitSeq(ctx, last); err != nil {
		return fmt.Errorf("read the mirror up to revision %d: %w", last, err)
	}
	return nil
}

func operations(writes []mirror.Write) []kv.Write {
	ops := make([]kv.Write, 0, len(writes)+1)
	for _, w := range writes {
		ops = append(ops, kv.Write{Key: w.Key, Value: w.Value, TTL: w.TTL})
	}
	return ops
}
