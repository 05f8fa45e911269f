package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"harmony.dev/fleet"
)

// How many events about one resource pass: a burst, then one now and then (as client-go's recorder has
// it). Accounts of more resources than maxAccounts are forgotten, which lets a new burst pass.
const (
	eventBurst  = 25
	eventEvery  = 5 * time.Minute
	maxAccounts = 4096
)

// Event says something about a resource to the people who look at it.
type Event struct {
	Kind    Kind
	Name    string
	UID     string
	Type    string // "Normal" or "Warning"
	Reason  string
	Message string // at most 1024 bytes, the apiserver's limit
}

// ErrTooManyEvents says that the resource had its share of events for now.
var ErrTooManyEvents = errors.New("too many events about this resource")

// Recorder writes Kubernetes Events. The same event again counts up the one that is there: its name
// follows from what it says, so that also holds after a restart. It is safe for concurrent use.
type Recorder struct {
	w        *Writer
	instance string

	mu       sync.Mutex
	accounts map[string]*rate.Limiter // by uid
}

// NewRecorder returns a recorder that writes as that instance.
func NewRecorder(w *Writer, instance string) *Recorder {
	return &Recorder{w: w, instance: instance, accounts: map[string]*rate.Limiter{}}
}

// Record writes an event, or counts up the same one.
func (r *Recorder) Record(ctx context.Context, e Event, now time.Time) error {
	if !r.allow(e.UID, now) {
		return ErrTooManyEvents
	}
	name := e.name()
	stored, err := r.get(ctx, name)
	if apierrors.IsNotFound(err) {
		err = r.create(ctx, name, e, now)
	} else if err == nil {
		err = r.count(ctx, stored, now)
	}
	if err != nil {
		return fmt.Errorf("record event %s about %s %s: %w", e.Reason, e.Kind.Name, e.Name, err)
	}
	return nil
}

func (r *Recorder) allow(uid string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	account := r.accounts[uid]
	if account == nil {
		if len(r.accounts) >= maxAccounts {
			clear(r.accounts)
		}
		account = rate.NewLimiter(rate.Every(eventEvery), eventBurst)
		r.accounts[uid] = account
	}
	return account.AllowN(now, 1)
}

func (r *Recorder) client() dynamic.ResourceInterface {
	events := schema.GroupVersionResource{Version: "v1", Resource: "events"}
	return r.w.cfg.Client.Resource(events).Namespace(r.w.cfg.Namespace)
}

func (r *Recorder) get(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	began, a := time.Now(), act{"get", "events", name}
	stored, err := r.client().Get(ctx, name, metav1.GetOptions{})
	r.w.cfg.Metrics.took(a, began, err)
	allowed := err
	if apierrors.IsNotFound(err) {
		allowed = nil
	}
	r.w.denied.note(a, allowed)
	return stored, err
}

func (r *Recorder) create(ctx context.Context, name string, e Event, now time.Time) error {
	_, err := r.w.do(ctx, act{"create", "events", name}, func(ctx context.Context) (*unstructured.Unstructured, error) {
		event := &unstructured.Unstructured{Object: r.document(name, e, now)}
		return r.client().Create(ctx, event, metav1.CreateOptions{FieldManager: fieldManager})
	})
	return err
}

func (r *Recorder) count(ctx context.Context, stored *unstructured.Unstructured, now time.Time) error {
	times, _, err := unstructured.NestedInt64(stored.Object, "count")
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata":      map[string]any{"resourceVersion": stored.GetResourceVersion()},
		"count":         times + 1,
		"lastTimestamp": stamp(now),
	})
	if err != nil {
		return err
	}
	_, err = r.w.do(ctx, act{"patch", "events", stored.GetName()}, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return r.client().Patch(ctx, stored.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	})
	return err
}

func (r *Recorder) document(name string, e Event, now time.Time) map[string]any {
	return map[string]any{
		"apiVersion": "v1",
		"kind":       "Event",
		"metadata":   map[string]any{"name": name, "namespace": r.w.cfg.Namespace},
		"involvedObject": map[string]any{
			"apiVersion": APIVersion, "kind": e.Kind.Name, "name": e.Name, "namespace": r.w.cfg.Namespace, "uid": e.UID,
		},
		"type":               e.Type,
		"reason":             e.Reason,
		"message":            e.Message,
		"count":              int64(1),
		"firstTimestamp":     stamp(now),
		"lastTimestamp":      stamp(now),
		"source":             map[string]any{"component": fleet.ServicePatcher},
		"reportingComponent": fleet.ServicePatcher,
		"reportingInstance":  r.instance,
	}
}

// name returns the name of the Event object: "web.0f3a…".
func (e Event) name() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{e.Kind.Name, e.UID, e.Type, e.Reason, e.Message}, "\x00")))
	return e.Name + "." + hex.EncodeToString(sum[:8])
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }
