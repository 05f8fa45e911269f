package kube

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// pass is one run of a reflector: what it lists and watches, and where it puts it. Its lists are quorum
// reads; a watch that cannot be started ends the attempt, so that the next one lists again.
type pass struct {
	informer *Informer
	number   uint64

	mu    sync.Mutex
	begun time.Time // when the newest list was begun
}

// failedAttempt hides an error from the reflector, which would go on watching from its old version.
type failedAttempt struct{ text string }

func (e failedAttempt) Error() string { return e.text }

func (p *pass) client() dynamic.ResourceInterface {
	cfg := p.informer.cfg
	return cfg.Client.Resource(cfg.Kind.resource()).Namespace(cfg.Namespace)
}

// ListWithContext reads a page of the list.
func (p *pass) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	options.ResourceVersion, options.ResourceVersionMatch = "", ""
	if options.Continue == "" {
		p.mu.Lock()
		p.begun = time.Now()
		p.mu.Unlock()
	}
	defer p.informer.ask()()
	began := time.Now()
	list, err := p.client().List(ctx, options)
	p.took("list", began, err)
	if err != nil {
		p.informer.attempted(ctx, "list", err)
		return nil, err
	}
	return list, nil
}

// WatchWithContext starts the watch that follows a list.
func (p *pass) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	defer p.informer.ask()()
	began := time.Now()
	w, err := p.client().Watch(ctx, options)
	p.took("watch", began, err)
	p.informer.attempted(ctx, "watch", err)
	if err != nil {
		return nil, failedAttempt{err.Error()}
	}
	return w, nil
}

func (p *pass) took(verb string, began time.Time, err error) {
	cfg := p.informer.cfg
	cfg.Metrics.took(act{verb: verb, resource: cfg.Kind.Resource}, began, err)
}

// List and Watch are the forms without a context, which the reflector's constructor asks for.
func (p *pass) List(options metav1.ListOptions) (runtime.Object, error) {
	return p.ListWithContext(context.Background(), options)
}

// Watch is WatchWithContext without a context.
func (p *pass) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return p.WatchWithContext(context.Background(), options)
}

// IsWatchListSemanticsUnSupported keeps the reflector to a list and a watch.
func (p *pass) IsWatchListSemanticsUnSupported() bool { return true }

// Add takes in a new resource.
func (p *pass) Add(obj any) error { return p.Update(obj) }

// Update takes in a changed resource.
func (p *pass) Update(obj any) error {
	r, err := resourceOf(obj)
	if err == nil {
		p.informer.cfg.Store.put(r)
	}
	return err
}

// Delete takes in the last state of a resource.
func (p *pass) Delete(obj any) error {
	r, err := resourceOf(obj)
	if err == nil {
		p.informer.cfg.Store.remove(r)
	}
	return err
}

// Replace takes in a whole list.
func (p *pass) Replace(objs []any, version string) error {
	list := make([]*unstructured.Unstructured, 0, len(objs))
	for _, obj := range objs {
		r, err := resourceOf(obj)
		if err != nil {
			return err
		}
		list = append(list, r)
	}
	p.mu.Lock()
	begun := p.begun
	p.mu.Unlock()
	if p.informer.cfg.Store.replace(list, version, begun) {
		p.informer.wentBack(version)
	}
	p.informer.replaced(p.number)
	return nil
}

// Bookmark takes in that nothing else happened up to a version.
func (p *pass) Bookmark(version string) error {
	p.informer.cfg.Store.advance(version)
	return nil
}

// Resync does nothing: nothing is left over to be done again.
func (p *pass) Resync() error { return nil }
