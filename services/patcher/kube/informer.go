package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"harmony.dev/fleet"
)

// InformerConfig says what to keep in view.
type InformerConfig struct {
	Client    dynamic.Interface
	Kind      Kind
	Namespace string
	Store     *Store
	WentBack  func() // called when a list is older than what was known before; nil means nobody
	Metrics   *Metrics
	Log       *slog.Logger
}

// Informer keeps the resources of one kind in its store.
type Informer struct {
	cfg InformerConfig

	mu      sync.Mutex
	wanted  uint64             // passes asked for
	listed  uint64             // the newest pass whose list is in the store
	lists   uint64             // lists taken in
	restart context.CancelFunc // ends the running pass
	moved   chan struct{}      // closed and replaced when listed or lost changes
	lost    *fleet.Reason      // why the last attempt did not work
	since   time.Time          // when the first attempt of those that did not work was made
	asked   *time.Time         // when the apiserver was asked what it has not answered yet
}

// NewInformer returns an informer that Run starts.
func NewInformer(cfg InformerConfig) *Informer {
	return &Informer{cfg: cfg, wanted: 1, restart: func() {}, moved: make(chan struct{})}
}

// Run keeps the store up to date until ctx is done.
func (i *Informer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		i.mu.Lock()
		number := i.wanted
		passCtx, cancel := context.WithCancel(ctx)
		i.restart = cancel
		i.mu.Unlock()
		i.pass(number).RunWithContext(klog.NewContext(passCtx, logr.Discard()))
		cancel()
	}
	return ctx.Err()
}

// Relist waits until a list that was begun after the call is in the store.
func (i *Informer) Relist(ctx context.Context) error {
	i.mu.Lock()
	i.wanted++
	number := i.wanted
	i.restart()
	i.mu.Unlock()
	for {
		i.mu.Lock()
		done, moved := i.listed >= number, i.moved
		i.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("list %s: %w", i.cfg.Kind.Resource, ctx.Err())
		case <-moved:
		}
	}
}

// Synced reports whether the store holds a whole list and the watch from there goes on.
func (i *Informer) Synced() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.listed > 0 && i.lost == nil
}

// OutOfSight returns for how long the apiserver was not in sight: since an attempt did not work and none
// has since, or since it was asked something that it does not answer. Zero means that it is in sight.
func (i *Informer) OutOfSight(now time.Time) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.lost != nil:
		return now.Sub(i.since)
	case i.asked != nil:
		return now.Sub(*i.asked)
	}
	return 0
}

// unanswered is how long the apiserver may take to answer before that is a reason to worry. Client-go goes on
// asking by itself for longer.
const unanswered = 3 * time.Second

// Reason says why the apiserver is not in sight, nil when nothing is wrong.
func (i *Informer) Reason() *fleet.Reason {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.lost == nil && i.asked != nil && time.Since(*i.asked) >= unanswered {
		return &fleet.Reason{Reason: ReasonAPIUnreachable, Message: "the apiserver does not answer: " + i.cfg.Kind.Resource + " in view may be old"}
	}
	return i.lost
}

// Source returns the informer's state for the service's health.
func (i *Informer) Source() fleet.Source {
	entries := i.cfg.Store.Len()
	i.mu.Lock()
	defer i.mu.Unlock()
	s := fleet.Source{
		Name: i.cfg.Kind.Resource, Pass: i.lists, Synced: i.listed > 0 && i.lost == nil,
		Entries: entries, Done: uint64(entries), Total: uint64(entries), Seq: i.cfg.Store.Seen(),
	}
	if i.lost != nil {
		s.Reason = i.lost.Message
	}
	return s
}

// backoff spaces the attempts: 0.2 s to 1 s, and a fifth of it as jitter. The last pause is part of the time
// from the return of the apiserver until everything is right.
func backoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Cap: time.Second, Factor: 2, Jitter: 0.2, Steps: 10}
}

func (i *Informer) pass(number uint64) *cache.Reflector {
	quiet := logr.Discard()
	p := &pass{informer: i, number: number}
	reflector := cache.NewReflectorWithOptions(p, &unstructured.Unstructured{}, p, cache.ReflectorOptions{
		Name: i.cfg.Kind.Resource, TypeDescription: i.cfg.Kind.crd(), Backoff: backoff(), Logger: &quiet,
	})
	return reflector
}

func (i *Informer) replaced(number uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.listed = max(i.listed, number)
	i.lists++
	i.move()
}

// wentBack tells that the apiserver was restored from a backup: what was written since is lost.
func (i *Informer) wentBack(version string) {
	i.cfg.Log.Warn("apiserver went back to an older state", "kind", i.cfg.Kind.Name, "version", version)
	if i.cfg.WentBack != nil {
		i.cfg.WentBack()
	}
}

// ask takes in that the apiserver is asked something, until it is called back.
func (i *Informer) ask() (answered func()) {
	asked := time.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = &asked
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.asked == &asked {
			i.asked = nil
		}
	}
}

// attempted takes in how an attempt to list or watch went.
func (i *Informer) attempted(ctx context.Context, verb string, err error) {
	if err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled)) {
		return // ended by ourselves
	}
	var lost *fleet.Reason
	if err != nil {
		lost = reading(i.cfg.Kind, i.cfg.Namespace, verb, err)
	}
	i.mu.Lock()
	before := i.lost
	i.lost = lost
	if before == nil && lost != nil {
		i.since = time.Now()
		if i.asked != nil {
			i.since = *i.asked
		}
	}
	i.move()
	i.mu.Unlock()
	switch {
	case lost != nil && (before == nil || before.Reason != lost.Reason):
		i.cfg.Log.Warn("apiserver lost", "kind", i.cfg.Kind.Name, "reason", lost.Reason, "err", err)
	case lost == nil && before != nil:
		i.cfg.Log.Info("apiserver back", "kind", i.cfg.Kind.Name)
	}
}

func (i *Informer) move() {
	close(i.moved)
	i.moved = make(chan struct{})
}
