package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest/kubetest"
	"harmony.dev/services/patcher/kube"
)

func writer(t *testing.T, qps float64, burst int) (*kube.Writer, *kube.Store, *kubetest.Server, string) {
	t.Helper()
	api := kubetest.KubeAPI(t)
	api.ApplyCRDs(t, crds())
	client, err := kube.NewClient(api.Config, "test")
	if err != nil {
		t.Fatal(err)
	}
	namespace := api.Namespace(t)
	store := kube.NewStore(func(string) {})
	w, err := kube.NewWriter(kube.WriterConfig{
		Client: client, Namespace: namespace, QPS: qps, Burst: burst, Stores: map[kube.Kind]*kube.Store{kube.Devices: store},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, store, api, namespace
}

func labelPatch(value string) map[string]any {
	return map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": value}}}
}

func TestWriter_WritesOnlyToTheStateItKnows(t *testing.T) {
	w, store, api, namespace := writer(t, 1000, 1000)
	old := createDevice(t, api, namespace, "pi-1")
	now, err := w.Merge(t.Context(), kube.Devices, old, labelPatch("1"))
	if err != nil {
		t.Fatal(err)
	}
	if store.Get("pi-1") != now {
		t.Error("the store does not know what the write returned")
	}
	other := now.DeepCopy()
	other.SetUID("other")
	for name, write := range map[string]func() error{
		"merge, old version": func() error { _, err := w.Merge(t.Context(), kube.Devices, old, labelPatch("2")); return err },
		"merge, other uid":   func() error { _, err := w.Merge(t.Context(), kube.Devices, other, labelPatch("2")); return err },
		"apply, old version": func() error {
			_, err := w.Apply(t.Context(), kube.Devices, old, "m", map[string]string{"b": "1"})
			return err
		},
		"apply, other uid": func() error {
			_, err := w.Apply(t.Context(), kube.Devices, other, "m", map[string]string{"b": "1"})
			return err
		},
		"apply over another's label": func() error {
			_, err := w.Apply(t.Context(), kube.Devices, now, "m", map[string]string{"a": "9"})
			return err
		},
	} {
		if err := write(); err == nil || fleet.CodeOf(kube.Refusal(name, err)) != fleet.CodeConflict {
			t.Errorf("%s: got %v, want a conflict", name, err)
		}
	}
	missing := now.DeepCopy()
	missing.SetName("pi-2")
	if _, err := w.Apply(t.Context(), kube.Devices, missing, "m", map[string]string{"b": "1"}); err == nil || store.Get("pi-2") != nil {
		t.Errorf("an apply created a Device: %v", err)
	}
}

func TestWriter_RemovesAFinalizerOnlyWhereItIs(t *testing.T) {
	w, store, api, namespace := writer(t, 1000, 1000)
	u := createDevice(t, api, namespace, "pi-1")
	living, err := w.Merge(t.Context(), kube.Devices, u, map[string]any{"metadata": map[string]any{"finalizers": []string{"a.b/1", "a.b/2"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.RemoveFinalizer(t.Context(), kube.Devices, living, 0); !apierrors.IsInvalid(err) {
		t.Errorf("of a resource that is not being deleted: %v", err)
	}
	if err := devices(api, namespace).Delete(t.Context(), "pi-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if u, err = devices(api, namespace).Get(t.Context(), "pi-1", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*unstructured.Unstructured){
		"other uid":      func(u *unstructured.Unstructured) { u.SetUID("other") },
		"other deletion": func(u *unstructured.Unstructured) { u.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(0, 0)}) },
		"other order":    func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"a.b/2", "a.b/1"}) },
		"longer list":    func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"a.b/2", "a.b/3", "a.b/1"}) },
	} {
		stale := u.DeepCopy()
		change(stale)
		if _, err := w.RemoveFinalizer(t.Context(), kube.Devices, stale, 0); !apierrors.IsInvalid(err) {
			t.Errorf("%s: got %v, want a failed test", name, err)
		}
	}
	u, err = w.RemoveFinalizer(t.Context(), kube.Devices, u, 0)
	if err != nil || fmt.Sprint(u.GetFinalizers()) != "[a.b/2]" || store.Get("pi-1") != u {
		t.Errorf("got %v, %v", u.GetFinalizers(), err)
	}
}

func TestWriter_TheLastFinalizerLeavesNothingBehind(t *testing.T) {
	w, store, api, namespace := writer(t, 1000, 1000)
	u := createDevice(t, api, namespace, "pi-1")
	if _, err := w.Merge(t.Context(), kube.Devices, u, map[string]any{"metadata": map[string]any{"finalizers": []string{"a.b/1"}}}); err != nil {
		t.Fatal(err)
	}
	if err := devices(api, namespace).Delete(t.Context(), "pi-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	before := store.Get("pi-1")
	deleting, err := devices(api, namespace).Get(t.Context(), "pi-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.RemoveFinalizer(t.Context(), kube.Devices, deleting, 0); err != nil {
		t.Fatal(err)
	}
	if after := store.Get("pi-1"); after != before {
		t.Errorf("a resource that is gone became known: %v", after)
	}
}

func TestWriter_LimitsItself(t *testing.T) {
	w, _, api, namespace := writer(t, 0.001, 1)
	u := createDevice(t, api, namespace, "pi-1")
	if _, err := w.Merge(t.Context(), kube.Devices, u, labelPatch("1")); err != nil {
		t.Fatal(err)
	}
	_, err := w.Merge(t.Context(), kube.Devices, u, labelPatch("2"))
	if fleet.CodeOf(kube.Refusal("write", err)) != fleet.CodeBusy {
		t.Errorf("got %v", err)
	}
	if _, err := kube.NewWriter(kube.WriterConfig{QPS: 0, Burst: 1}); err == nil {
		t.Error("a rate of zero is accepted")
	}
}

// An apiserver that is busy says when to come again. That is for the sender to know.
func TestWriter_DoesNotWaitForABusyAPIServer(t *testing.T) {
	api := kubetest.KubeAPI(t)
	p := newFaultyProxy(t, api)
	client, err := kube.NewClient(p.config, "test")
	if err != nil {
		t.Fatal(err)
	}
	w, err := kube.NewWriter(kube.WriterConfig{Client: client, Namespace: "any", QPS: 100, Burst: 100})
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[int32]string{http.StatusTooManyRequests: kube.ReasonAPIBusy, http.StatusServiceUnavailable: kube.ReasonAPIUnreachable} {
		p.code.Store(code)
		begin, before := time.Now(), p.requests.Load()
		_, err := w.ApplyNew(t.Context(), kube.Devices, "pi-1", "m", nil)
		if got := kube.Refusal("write", err).Reason; got != want {
			t.Errorf("after %d: got %s, want %s (%v)", code, got, want, err)
		}
		if n, took := p.requests.Load()-before, time.Since(begin); n != 1 || took > time.Second {
			t.Errorf("after %d: %d requests in %v", code, n, took)
		}
	}
}

func TestRefusal(t *testing.T) {
	gr := schema.GroupResource{Resource: "devices"}
	gk := schema.GroupKind{Kind: "Device"}
	tests := []struct {
		err    error
		code   fleet.Code
		reason string
	}{
		{apierrors.NewConflict(gr, "a", errors.New("changed")), fleet.CodeConflict, "Conflict"},
		{apierrors.NewAlreadyExists(gr, "a"), fleet.CodeConflict, "Conflict"},
		{apierrors.NewNotFound(gr, "a"), fleet.CodeConflict, "Conflict"},

		{apierrors.NewInvalid(gk, "a", nil), fleet.CodeInternal, kube.ReasonRefused},
		{apierrors.NewBadRequest("bad"), fleet.CodeInternal, kube.ReasonRefused},
		{apierrors.NewRequestEntityTooLargeError("large"), fleet.CodeInternal, kube.ReasonRefused},
		{apierrors.NewForbidden(gr, "a", errors.New("no")), fleet.CodeInternal, kube.ReasonRefused},
		{apierrors.NewInternalError(errors.New("failed calling webhook")), fleet.CodeInternal, kube.ReasonRefused},

		{apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "fleet"), fleet.CodeUnavailable, kube.ReasonNamespaceMissing},
		{apierrors.NewTooManyRequests("slow", 1), fleet.CodeBusy, kube.ReasonAPIBusy},
		{apierrors.NewUnauthorized("who"), fleet.CodeUnavailable, kube.ReasonAPIUnauthorized},
		{apierrors.NewServiceUnavailable("starting"), fleet.CodeUnavailable, kube.ReasonAPIUnreachable},
		{apierrors.NewServerTimeout(gr, "patch", 1), fleet.CodeUnavailable, kube.ReasonAPIUnreachable},
		{apierrors.NewTimeoutError("late", 1), fleet.CodeUnavailable, kube.ReasonAPIUnreachable},
		{apierrors.NewGenericServerResponse(http.StatusBadGateway, "patch", gr, "a", "", 0, true), fleet.CodeUnavailable, kube.ReasonAPIUnreachable},
		{context.DeadlineExceeded, fleet.CodeUnavailable, kube.ReasonAPIUnreachable},
		{errors.New("connection refused"), fleet.CodeUnavailable, kube.ReasonAPIUnreachable},
	}
	for _, tt := range tests {
		if got := kube.Refusal("write", fmt.Errorf("wrapped: %w", tt.err)); got.Code != tt.code || got.Reason != tt.reason {
			t.Errorf("%v: got %d %s, want %d %s", tt.err, got.Code, got.Reason, tt.code, tt.reason)
		}
	}
}

func TestRecorder_CountsAndLimits(t *testing.T) {
	w, _, api, namespace := writer(t, 1000, 1000)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	event := kube.Event{Kind: kube.Devices, Name: "pi-1", UID: "u1", Type: "Warning", Reason: "R", Message: "m"}
	first, second := kube.NewRecorder(w, "p1"), kube.NewRecorder(w, "p2")
	record := func(r *kube.Recorder, e kube.Event) {
		t.Helper()
		if err := r.Record(t.Context(), e, now); err != nil {
			t.Fatal(err)
		}
	}
	record(first, event)
	record(second, event) // after a restart it is still the same event
	event.Message = "another"
	record(second, event)
	got := map[string]int64{}
	events := api.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(namespace)
	for _, u := range listAll(t, events) {
		got[u.Object["message"].(string)] = u.Object["count"].(int64)
	}
	if len(got) != 2 || got["m"] != 2 || got["another"] != 1 {
		t.Errorf("got %v", got)
	}

	for range 100 {
		if err := second.Record(t.Context(), event, now); err != nil && !errors.Is(err, kube.ErrTooManyEvents) {
			t.Fatal(err)
		}
	}
	if err := second.Record(t.Context(), event, now); !errors.Is(err, kube.ErrTooManyEvents) {
		t.Errorf("the hundredth event of a resource: %v", err)
	}
	now = now.Add(6 * time.Minute)
	record(second, event)
}
