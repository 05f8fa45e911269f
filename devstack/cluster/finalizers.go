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
	"k8s.io/apimachinery/pkg/runtime/schema"
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
	// quiet is how long no finalizer may come back before they count as gone, and rounds how often they are removed.
	quiet  = 3 * time.Second
	rounds = 5
)

// ErrPutBack says that finalizers that were removed came back: the patcher still runs.
var ErrPutBack = errors.New("finalizers that were removed are there again: a patcher still runs and adds them")

// Released is what was done to one kind of resource.
type Released struct {
	Resource string `json:"resource"`
	Missing  bool   `json:"missing,omitempty"` // the definition is not there, and so nothing of the kind is
	Found    int    `json:"found"`             // resources
	Released int    `json:"released"`          // of them had finalizers of the operator, which are gone
	Kept     int    `json:"kept"`              // have finalizers of others, which stay
}

// ReleaseFinalizers takes the operator's finalizers, and no other's, off all Deployments and Devices of a namespace. It
// deletes nothing. It returns once none has been there for a moment, or [ErrPutBack] when they come back again and again.
// Progress is called with what is done so far. It needs list and patch on both kinds.
func ReleaseFinalizers(ctx context.Context, client Client, namespace string, progress func([]Released)) ([]Released, error) {
	done := []Released{{Resource: Deployments.GroupResource().String()}, {Resource: Devices.GroupResource().String()}}
	released := map[types.UID]bool{}
	var since time.Time // none was found
	for round := 0; ; {
		again, found := 0, 0
		for i, resource := range []schema.GroupVersionResource{Deployments, Devices} {
			holding, err := look(ctx, client.Resource(resource).Namespace(namespace), &done[i])
			if err != nil {
				return done, fmt.Errorf("list %s in namespace %s: %w", resource.GroupResource(), namespace, err)
			}
			for _, u := range holding {
				if released[u.GetUID()] {
					again++
				}
			}
			found += len(holding)
			if err := release(ctx, client.Resource(resource).Namespace(namespace), holding, func(uid types.UID) {
				if !released[uid] {
					released[uid] = true
					done[i].Released++
					progress(done)
				}
			}); err != nil {
				return done, err
			}
		}
		progress(done)
		switch {
		case found > 0:
			since = time.Time{}
			if again > 0 {
				round++
			}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= quiet:
			return done, nil
		}
		if round >= rounds {
			return done, fmt.Errorf("%w (%d resources, %d times)", ErrPutBack, again, round)
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return done, err
		}
	}
}

// look pages through a kind and returns what has a finalizer of the operator.
func look(ctx context.Context, client dynamic.ResourceInterface, r *Released) ([]unstructured.Unstructured, error) {
	var holding []unstructured.Unstructured
	r.Found, r.Kept, r.Missing = 0, 0, false
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := client.List(ctx, opts)
		switch {
		case apierrors.IsNotFound(err):
			r.Missing = true
			return nil, nil
		case apierrors.IsResourceExpired(err) && opts.Continue != "": // the pages are too old to go on with
			r.Found, r.Kept, holding, opts.Continue = 0, 0, nil, ""
			continue
		case err != nil:
			return nil, err
		}
		for _, u := range page.Items {
			r.Found++
			rest := others(u.GetFinalizers())
			if len(rest) > 0 {
				r.Kept++
			}
			if len(rest) < len(u.GetFinalizers()) {
				holding = append(holding, u)
			}
		}
		if opts.Continue = page.GetContinue(); opts.Continue == "" {
			return holding, nil
		}
	}
}

// others returns the finalizers that are not the operator's.
func others(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(f string) bool { return slices.Contains(finalizers, f) })
}

// release patches all, some at once. Done is called for each, one at a time.
func release(ctx context.Context, client dynamic.ResourceInterface, all []unstructured.Unstructured, done func(types.UID)) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(patching)
	for _, u := range all {
		group.Go(func() error {
			ok, err := releaseOne(ctx, client, &u)
			if err != nil {
				return fmt.Errorf("take the finalizers off %s %s: %w", u.GetKind(), u.GetName(), err)
			}
			mu.Lock()
			defer mu.Unlock()
			if ok {
				done(u.GetUID())
			}
			return nil
		})
	}
	return group.Wait()
}

// releaseOne patches a resource on condition that it has not changed since it was read. One that has is left to the next
// look, ok is false then: what it has now decides.
func releaseOne(ctx context.Context, client dynamic.ResourceInterface, u *unstructured.Unstructured) (ok bool, err error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": u.GetResourceVersion(), "uid": u.GetUID(), "finalizers": append([]string{}, others(u.GetFinalizers())...),
	}})
	if err != nil {
		return false, err
	}
	_, err = client.Patch(ctx, u.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "fleet-uninstall"})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return false, nil
	}
	return err == nil, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
