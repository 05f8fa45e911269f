package record

import (
	"context"
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// resourceTap records the writes to one kind of resource.
type resourceTap struct {
	recorder *Recorder
	kind     string
	resource schema.GroupVersionResource

	known map[string]*Write // by name: as it was seen last
}

func (w *resourceTap) run(ctx context.Context) {
	for {
		w.follow(ctx)
		if !pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// follow lists once and then watches, until the watch ends.
func (w *resourceTap) follow(ctx context.Context) {
	resources := w.recorder.cfg.Resources.Resource(w.resource).Namespace(w.recorder.cfg.Namespace)
	list, err := resources.List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	w.listed(list.Items)
	events, err := resources.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		return
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		kind, ok := map[watch.EventType]WriteKind{watch.Added: WriteAdded, watch.Modified: WriteModified, watch.Deleted: WriteDeleted}[e.Type]
		u, isResource := e.Object.(*unstructured.Unstructured)
		if !ok || !isResource {
			return
		}
		w.seen(ReadResource(kind, w.kind, u))
	}
}

// listed records resources as they are, and that those are gone which are no longer among them.
func (w *resourceTap) listed(items []unstructured.Unstructured) {
	gone := w.known
	w.known = map[string]*Write{}
	for i := range items {
		w.seen(ReadResource(WriteListed, w.kind, &items[i]))
		delete(gone, items[i].GetName())
	}
	for _, last := range gone {
		lost := *last
		lost.Kind = WriteDeleted
		w.recorder.Add(Event{Write: &lost})
	}
}

func (w *resourceTap) seen(e *Write) {
	w.recorder.Add(Event{Write: e})
	if e.Kind == WriteDeleted {
		delete(w.known, e.Name)
	} else {
		w.known[e.Name] = e
	}
}

// ReadResource returns what a recording keeps of a resource.
func ReadResource(kind WriteKind, resource string, u *unstructured.Unstructured) *Write {
	return &Write{
		Kind: kind, Resource: resource, Name: u.GetName(), UID: string(u.GetUID()),
		ResourceVersion: u.GetResourceVersion(), Generation: u.GetGeneration(),
		Deleting: u.GetDeletionTimestamp() != nil, Finalizers: u.GetFinalizers(), Labels: u.GetLabels(),
		Spec: raw(u.Object["spec"]), Status: raw(u.Object["status"]),
	}
}

func raw(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil // what came as JSON can be written as such
	}
	return b
}
