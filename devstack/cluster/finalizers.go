package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"harmony.dev/fleet"
)

// finalizers are those that the operator sets.
var finalizers = []string{fleet.FinalizerDesiredState, fleet.FinalizerDeviceData}

const (
	// pageSize is how many resources come with one list, and patching how many are patched at once.
	pageSize = 500
	patching = 8
	// putBacks is how often finalizers may come back, and turns how often any may be found at all.
	putBacks = 5
	turns    = 30
	// tries is how often a resource may refuse before it is left alone, and unanswered how many patches in a row may have
	// no answer before the API counts as lost.
	tries      = 3
	unanswered = 2 * patching
	// busy and idle are how long it pauses before it looks again: soon while there is something to do, and not so soon
	// while it only watches, for a look reads every resource.
	busy = 250 * time.Millisecond
	idle = time.Second
)

var (
	// ErrPutBack says that finalizers that were removed came back: the patcher still runs.
	ErrPutBack = errors.New("finalizers that were removed are there again: a patcher still runs and adds them")
	// ErrUnsettled says that there was no end to it, though no patcher is known to run.
	ErrUnsettled = errors.New("finalizers turn up again and again: resources are changed or created as fast as they are released")
	// ErrRefused says that some resources could not be patched.
	ErrRefused = errors.New("finalizers could not be taken off")
)

// Options is how finalizers are released.
type Options struct {
	Quiet    time.Duration    // how long no finalizer may come back before they count as gone
	Progress func([]Released) // is called with what is done so far, refusals left out
	Waiting  func()           // is called when no finalizer is left, and the quiet time begins
}

// ReleaseFinalizers takes the operator's finalizers, and no other's, off all Deployments and Devices of a namespace. It
// deletes nothing. It returns once none has been there for the quiet time, [ErrPutBack] when they come back again and
// again, [ErrUnsettled] when there is no end to it for another reason. A resource that cannot be patched stops no other:
// all of them are in the error, which then is [ErrRefused]. It needs list and patch on both kinds.
func ReleaseFinalizers(ctx context.Context, client Client, namespace string, opts Options) ([]Released, error) {
	r := newReleaser(client, namespace, opts)
	err := r.run(ctx)
	return r.summary(), errors.Join(err, r.refusals())
}

// releaser releases finalizers, turn by turn.
type releaser struct {
	opts       Options
	busy, idle time.Duration
	mu         sync.Mutex // guards what follows, while patches are under way
	kinds      []*kind
	silent     int // patches in a row that had no answer
}

func newReleaser(client Client, namespace string, opts Options) *releaser {
	return &releaser{opts: opts, busy: busy, idle: min(idle, opts.Quiet), kinds: []*kind{
		newKind(Deployments.GroupResource(), client.Resource(Deployments).Namespace(namespace)),
		newKind(Devices.GroupResource(), client.Resource(Devices).Namespace(namespace)),
	}}
}

func (r *releaser) run(ctx context.Context) error {
	var since time.Time // none was found
	for back, turn, wait := 0, 0, r.busy; ; {
		again, err := r.look(ctx)
		if err != nil {
			return err
		}
		if again > 0 {
			back++
		}
		switch pending := r.pending(); {
		case back >= putBacks:
			return fmt.Errorf("%w (%d resources, %d times)", ErrPutBack, again, back)
		case pending > 0 && turn >= turns:
			return fmt.Errorf("%w (%d are left after %d turns)", ErrUnsettled, pending, turn)
		case pending > 0:
			if err := r.release(ctx); err != nil {
				return err
			}
			since, wait = time.Time{}, r.busy
			turn++
		case since.IsZero():
			since, wait = time.Now(), r.idle
			r.opts.Waiting()
		case time.Since(since) >= r.opts.Quiet:
			return nil
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// look looks at both kinds, and counts what is there again.
func (r *releaser) look(ctx context.Context) (again int, err error) {
	for _, k := range r.kinds {
		s, err := scan(ctx, k.client)
		if err != nil {
			return 0, fmt.Errorf("list %s: %w", k.resource, err)
		}
		again += k.take(s)
	}
	r.opts.Progress(r.counts())
	return again, nil
}

func (r *releaser) pending() int {
	n := 0
	for _, k := range r.kinds {
		n += len(k.pending())
	}
	return n
}

// release patches all that is pending, some at once. Only what concerns all of it is an error.
func (r *releaser) release(ctx context.Context) error {
	for _, k := range r.kinds {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(patching)
		for _, u := range k.pending() {
			group.Go(func() error {
				ok, err := releaseOne(ctx, k.client, u)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return r.note(k, u, ok, err)
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// note notes how a patch went. It returns the error when there is no use in patching others.
func (r *releaser) note(k *kind, u *unstructured.Unstructured, ok bool, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var answer apierrors.APIStatus
	answered := err == nil || errors.As(err, &answer)
	switch {
	case ok:
		k.done(u.GetUID())
		r.opts.Progress(r.counts())
	case apierrors.IsNotFound(err):
		k.gone(u.GetUID())
	case apierrors.IsConflict(err): // what it has at the next look decides
	default:
		k.refuse(u, err)
	}
	r.silent++
	if answered {
		r.silent = 0
	}
	if apierrors.IsUnauthorized(err) || r.silent >= unanswered {
		return fmt.Errorf("take the finalizers off %s %s: %w", u.GetKind(), u.GetName(), err)
	}
	return nil
}

// releaseOne patches a resource on condition that it has not changed since it was read.
func releaseOne(ctx context.Context, client dynamic.ResourceInterface, u *unstructured.Unstructured) (ok bool, err error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": u.GetResourceVersion(), "uid": u.GetUID(), "finalizers": append([]string{}, others(u.GetFinalizers())...),
	}})
	if err != nil {
		return false, err
	}
	_, err = client.Patch(ctx, u.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "fleet-uninstall"})
	return err == nil, err
}

// others returns the finalizers that are not the operator's.
func others(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(f string) bool { return slices.Contains(finalizers, f) })
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
