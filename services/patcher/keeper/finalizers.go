package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"

	"harmony.dev/fleet/panics"
)

// How finalizers are added: a few at a time, and after an error later and later.
const (
	finalizerWorkers = 4
	retryFirst       = 100 * time.Millisecond
	retryLast        = 30 * time.Second
	firstTries       = 5 * time.Second // how long the mirror waits for the first try of each
	patience         = 3               // failures after which the next counts as lasting
)

// finalizers adds what is missing to resources, beside the mirror's writes, during one term.
type finalizers struct {
	keeper *Keeper
	queue  workqueue.TypedRateLimitingInterface[ref]
	done   sync.WaitGroup
}

func (k *Keeper) startFinalizers(ctx context.Context) *finalizers {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[ref](retryFirst, retryLast)
	f := &finalizers{keeper: k, queue: workqueue.NewTypedRateLimitingQueue(limiter)}
	for range finalizerWorkers {
		f.done.Go(func() { _ = panics.Guard(ctx, "finalizers", f.work) }) // a bug ends the process
	}
	return f
}

// stop ends the workers and waits for them. The context they were started with has to end first.
func (f *finalizers) stop() {
	f.queue.ShutDown()
	f.done.Wait()
}

// ask has the finalizers of a resource added soon.
func (f *finalizers) ask(r ref) { f.queue.Add(r) }

// tryAll tries each of the resources that lack a finalizer once. After firstTries it starts no more and
// waits for none: the rest is for the workers.
func (f *finalizers) tryAll(ctx context.Context, refs []ref) {
	trying, cancel := context.WithTimeout(ctx, firstTries)
	defer cancel()
	f.done.Go(func() {
		defer cancel()
		var group errgroup.Group
		group.SetLimit(finalizerWorkers)
		for _, r := range refs {
			group.Go(func() error {
				if trying.Err() == nil {
					f.try(ctx, r)
				}
				return nil
			})
		}
		_ = group.Wait() // each error is kept with its resource
	})
	<-trying.Done()
}

func (f *finalizers) work(ctx context.Context) error {
	for {
		r, shutdown := f.queue.Get()
		if shutdown {
			return nil
		}
		f.try(ctx, r)
		f.queue.Done(r)
	}
}

func (f *finalizers) try(ctx context.Context, r ref) {
	err := f.add(ctx, r)
	if err == nil {
		f.queue.Forget(r)
		return
	}
	if ctx.Err() == nil {
		f.queue.AddRateLimited(r)
	}
}

// add adds the missing finalizers to a resource. The store then knows the result, which has the
// resource looked at again.
func (f *finalizers) add(ctx context.Context, r ref) error {
	informer := f.keeper.cfg.Informers[r.kind]
	resource := informer.Store.Get(r.name)
	if resource == nil {
		return nil
	}
	missing := r.want(resource.Object, f.keeper.cfg.MaxValue()).Missing
	if len(missing) == 0 {
		return nil
	}
	patch := map[string]any{"metadata": map[string]any{
		"finalizers": slices.Concat(resource.GetFinalizers(), missing),
	}}
	_, err := f.keeper.cfg.Writer.Merge(ctx, r.kind, resource, patch)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		f.keeper.refused.add(r, resource, fmt.Errorf("add finalizers: %w", err), f.keeper.view.shows(r.key()))
		if f.lasts(r, err) && f.keeper.refused.stay(r) {
			f.keeper.dirty.add(r) // it may need a placeholder now
		}
	}
	return err
}

// lasts reports whether it is no use to wait a moment: who refuses it has said no, or goes on failing.
func (f *finalizers) lasts(r ref, err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || f.queue.NumRequeues(r) >= patience
}
