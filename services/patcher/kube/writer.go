package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"harmony.dev/fleet"
)

// fieldManager is under whose name the patcher writes everything but reported labels.
const fieldManager = "fleet-patcher"

// writeWithin is how long one write may take.
const writeWithin = 10 * time.Second

var errLimited = errors.New("the patcher's own rate limit is reached")

// WriterConfig says where to write and how fast.
type WriterConfig struct {
	Client    dynamic.Interface
	Namespace string
	QPS       float64 // writes per second
	Burst     int     // writes at once
	Stores    map[Kind]*Store
	Metrics   *Metrics
}

// Writer makes all writes to the apiserver. It is safe for concurrent use.
type Writer struct {
	cfg     WriterConfig
	denied  *denials
	limiter *rate.Limiter
}

// NewWriter returns a writer.
func NewWriter(cfg WriterConfig) (*Writer, error) {
	if cfg.QPS <= 0 || cfg.Burst <= 0 {
		return nil, fmt.Errorf("set up the writer: qps %v and burst %d must be positive", cfg.QPS, cfg.Burst)
	}
	return &Writer{cfg: cfg, denied: newDenials(), limiter: rate.NewLimiter(rate.Limit(cfg.QPS), cfg.Burst)}, nil
}

// Reason says what the apiserver does not allow, nil when everything that was tried last is allowed.
func (w *Writer) Reason() *fleet.Reason {
	return w.denied.reason(w.cfg.Namespace, func(a act) bool {
		resource, _, _ := strings.Cut(a.resource, "/")
		for kind, store := range w.cfg.Stores {
			if kind.Resource == resource && a.verb != "create" {
				return store.Get(a.name) == nil
			}
		}
		return false
	})
}

// Forget forgets what was not allowed: this process writes no more.
func (w *Writer) Forget() { w.denied.reset() }

// Merge patches a resource by a JSON merge patch (RFC 7396). The precondition is the state that the patch
// was computed from: the same uid and version, else the apiserver answers with a conflict.
func (w *Writer) Merge(ctx context.Context, k Kind, state *unstructured.Unstructured, patch map[string]any, subresources ...string) (*unstructured.Unstructured, error) {
	patch = withPrecondition(patch, state)
	return w.patch(ctx, "patch", k, state.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}, subresources...)
}

// Apply applies labels server-side under a field manager of their own, with the same precondition as
// Merge and never over another manager's.
func (w *Writer) Apply(ctx context.Context, k Kind, state *unstructured.Unstructured, manager string, labels map[string]string) (*unstructured.Unstructured, error) {
	config := withPrecondition(w.labelled(k, state.GetName(), labels), state)
	return w.patch(ctx, "patch", k, state.GetName(), types.ApplyPatchType, config, metav1.PatchOptions{FieldManager: manager})
}

// ApplyNew creates a resource with its labels in one write, as Apply would have set them. A resource of
// that name which was created meanwhile gets the labels, but never over another manager's.
func (w *Writer) ApplyNew(ctx context.Context, k Kind, name, manager string, labels map[string]string) (*unstructured.Unstructured, error) {
	return w.patch(ctx, "create", k, name, types.ApplyPatchType, w.labelled(k, name, labels), metav1.PatchOptions{FieldManager: manager})
}

// labelled returns the configuration of a server-side apply of nothing but labels.
func (w *Writer) labelled(k Kind, name string, labels map[string]string) map[string]any {
	metadata := map[string]any{"name": name, "namespace": w.cfg.Namespace}
	if len(labels) > 0 {
		metadata["labels"] = labels
	}
	return map[string]any{"apiVersion": APIVersion, "kind": k.Name, "metadata": metadata}
}

// RemoveFinalizer takes one finalizer off a resource that is being deleted, by a JSON patch (RFC 6902) that holds only for
// this uid, for this deletion, and while the finalizer is where state has it: the apiserver may have gone back to a
// time before the deletion.
func (w *Writer) RemoveFinalizer(ctx context.Context, k Kind, state *unstructured.Unstructured, index int) (*unstructured.Unstructured, error) {
	path := fmt.Sprintf("/metadata/finalizers/%d", index)
	deletion, _, _ := unstructured.NestedString(state.Object, "metadata", "deletionTimestamp") // "": no test passes
	patch := []map[string]any{
		{"op": "test", "path": "/metadata/uid", "value": state.GetUID()},
		{"op": "test", "path": "/metadata/deletionTimestamp", "value": deletion},
		{"op": "test", "path": path, "value": state.GetFinalizers()[index]},
		{"op": "remove", "path": path},
	}
	return w.patch(ctx, "patch", k, state.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
}

// patch makes a write that is sent as a patch. The verb is what it takes to be allowed to.
func (w *Writer) patch(ctx context.Context, verb string, k Kind, name string, pt types.PatchType, patch any, opts metav1.PatchOptions, subresources ...string) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encode a patch of %s %s: %w", k.Name, name, err)
	}
	a := act{verb, strings.Join(append([]string{k.Resource}, subresources...), "/"), name}
	patched, err := w.do(ctx, a, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return w.client(k).Patch(ctx, name, pt, body, opts, subresources...)
	})
	return w.known(k, patched), err
}

// do makes one write: limited, bounded in time, measured, and remembered when it is not allowed.
func (w *Writer) do(ctx context.Context, a act, write func(context.Context) (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	if err := w.limiter.Wait(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", errLimited, err)
	}
	start := time.Now()
	written, err := write(ctx)
	w.cfg.Metrics.took(a, start, err)
	w.denied.note(a, err)
	return written, err
}

// known makes what a write returned known to the store, unless the write made the resource go.
func (w *Writer) known(k Kind, r *unstructured.Unstructured) *unstructured.Unstructured {
	gone := r != nil && r.GetDeletionTimestamp() != nil && len(r.GetFinalizers()) == 0
	if store := w.cfg.Stores[k]; store != nil && r != nil && !gone {
		store.Written(r, time.Now())
	}
	return r
}

func (w *Writer) client(k Kind) dynamic.ResourceInterface {
	return w.cfg.Client.Resource(k.resource()).Namespace(w.cfg.Namespace)
}

func withPrecondition(patch map[string]any, state *unstructured.Unstructured) map[string]any {
	metadata := map[string]any{}
	if m, ok := patch["metadata"].(map[string]any); ok {
		metadata = m
	}
	metadata["uid"], metadata["resourceVersion"] = state.GetUID(), state.GetResourceVersion()
	patch["metadata"] = metadata
	return patch
}
