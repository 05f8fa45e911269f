package keeper

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/kube"
)

// without is a keeper that knows of one Device, without finalizers, and whose bucket is empty.
func without(t *testing.T) (*Keeper, *finalizers, ref) {
	t.Helper()
	store := kube.NewStore(func(string) {})
	store.Written(&unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{
		"name": "pi-1", "uid": "u1", "generation": int64(1), "resourceVersion": "7",
	}}}, time.Now())
	log := slog.New(slog.DiscardHandler)
	k := &Keeper{
		cfg: Config{
			Informers: map[kube.Kind]Informer{kube.Devices: {Store: store}},
			MaxValue:  func() int { return fleet.MaxMirrorSize }, Log: log,
		},
		dirty: newDirty(), refused: newRefused(log),
	}
	k.view = newView(log, k.dirty.add)
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ref]())
	t.Cleanup(queue.ShutDown)
	return k, &finalizers{keeper: k, queue: queue}, ref{kube.Devices, "pi-1"}
}

// A resource whose finalizers are about to be added needs no placeholder: it would have a status of its own for a moment.
func TestWants_PlaceholderWhenNeeded(t *testing.T) {
	for _, c := range []struct {
		name           string
		refused, stays bool
		whole          bool
		want           bool
	}{
		{"not tried yet", false, false, false, false},
		{"failed for a moment", true, false, false, false},
		{"refused", true, true, false, true},
		{"the mirror is about to be called whole", false, false, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, f, pi := without(t)
			if c.refused {
				k.refused.add(pi, k.cfg.Informers[pi.kind].Store.Get(pi.name), errors.New("forbidden"), false)
			}
			if c.stays && (!k.refused.stay(pi) || k.refused.stay(pi)) {
				t.Error("it is news once")
			}
			want := k.wants([]ref{pi}, f, c.whole)[pi.key()]
			if got := want.Placeholder != nil; got != c.want || want.Missing == nil || f.queue.Len() != 1 {
				t.Errorf("wants %+v, %d to be tried", want, f.queue.Len())
			}
		})
	}
}

// A webhook that is away for a moment refuses nothing.
func TestFinalizers_Last(t *testing.T) {
	_, f, pi := without(t)
	away := apierrors.NewInternalError(errors.New("the webhook is away"))
	for try := range 2 * patience {
		if got := f.lasts(pi, away); got != (try >= patience) {
			t.Errorf("lasts after %d failures: %t", try, got)
		}
		f.queue.AddRateLimited(pi)
	}
	f.queue.Forget(pi)
	if f.lasts(pi, away) || !f.lasts(pi, fmt.Errorf("patch: %w", apierrors.NewForbidden(schema.GroupResource{}, "pi-1", nil))) {
		t.Error("after it was there: want that only a refusal lasts")
	}
}

// A placeholder is not shown as a value that was kept.
func TestView_ShowsNoPlaceholder(t *testing.T) {
	k, _, pi := without(t)
	for value, want := range map[string]bool{
		`{"uid":"u1","generation":1}`:                              true,
		`{"uid":"u1","generation":1,"invalid":"no finalizer yet"}`: false,
		`{"tombstone":{"cause":"vanished"}}`:                       false,
	} {
		if _, err := k.view.stored.Put(pi.key(), []byte(value), 9); err != nil {
			t.Fatal(err)
		}
		if got := k.view.shows(pi.key()); got != want {
			t.Errorf("%s: %t", value, got)
		}
	}
}
