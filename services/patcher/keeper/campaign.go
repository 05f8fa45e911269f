package keeper

import (
	"context"
	"errors"
	"time"

	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/panics"
)

const (
	// lookEvery is how often a holder looks whether it still sees the apiserver.
	lookEvery = 100 * time.Millisecond
	// standAside is how long a holder that handed the lease back leaves it to others: standbys look
	// twice a second.
	standAside = time.Second
)

// errBlind ends a term whose holder cannot see.
var errBlind = errors.New("the apiserver is out of sight: another replica may see it")

// Campaign runs the elector, and keeps the mirror while this process holds the lease, until ctx is done.
//
// A term that ends because the apiserver is out of sight ends the elector's run with it. The rest that
// the elector takes between terms grows, which would only delay the return: without sight this process
// is not [Keeper.Eligible] anyway.
func (k *Keeper) Campaign(ctx context.Context, elector *kv.Elector) error {
	for ctx.Err() == nil {
		if err := k.campaign(ctx, elector); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(standAside):
		}
	}
	return nil
}

func (k *Keeper) campaign(ctx context.Context, elector *kv.Elector) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	return elector.Run(ctx, func(ctx context.Context, term *kv.Term) error {
		looking := make(chan struct{})
		defer func() { <-looking }()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer close(looking)
			if err := panics.Guard(ctx, "apiserver", k.look); err != nil {
				k.cfg.Log.Warn("lease is handed back", "epoch", term.Epoch(), "err", err)
				end()
			}
		}()
		return k.act(ctx, term)
	})
}

// Eligible reports whether this process sees enough to keep the mirror.
func (k *Keeper) Eligible() bool { return k.outOfSight(time.Now()) < k.cfg.HandBackAfter }

// look returns errBlind when the apiserver was out of sight for too long, nil when ctx is done. What was
// before it does not count.
func (k *Keeper) look(ctx context.Context) error {
	began := time.Now()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if min(k.outOfSight(now), now.Sub(began)) >= k.cfg.HandBackAfter {
				return errBlind
			}
		}
	}
}

// outOfSight returns for how long the apiserver was out of sight for at least one kind.
func (k *Keeper) outOfSight(now time.Time) time.Duration {
	var longest time.Duration
	for _, informer := range k.cfg.Informers {
		longest = max(longest, informer.OutOfSight(now))
	}
	return longest
}
