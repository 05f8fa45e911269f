package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"harmony.dev/fleet"
)

// devices is an API with Devices, and no Deployments, which refuses what a real one refuses now and then.
type devices struct {
	mu      sync.Mutex
	has     map[string][]string                         // name to finalizers
	answers map[string]func(w http.ResponseWriter) bool // to patches, by name: false is to go on as usual
	patched map[string]int
	listing func(d *devices) // before each list
}

func newDevices(names ...string) *devices {
	d := &devices{has: map[string][]string{}, answers: map[string]func(http.ResponseWriter) bool{}, patched: map[string]int{}}
	for _, name := range names {
		d.has[name] = []string{fleet.FinalizerDesiredState}
	}
	return d
}

func (d *devices) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := path.Base(r.URL.Path)
	switch {
	case !strings.Contains(r.URL.Path, "/devices"):
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, "not found")
	case r.Method == http.MethodGet:
		d.list(w)
	default:
		d.patch(w, r, name)
	}
}

func (d *devices) list(w http.ResponseWriter) {
	if d.listing != nil {
		d.listing(d)
	}
	items := []any{}
	for name, finalizers := range d.has {
		items = append(items, d.object(name, finalizers))
	}
	answer(w, http.StatusOK, map[string]any{"kind": "DeviceList", "apiVersion": fleet.Group + "/" + fleet.Version, "metadata": map[string]any{}, "items": items})
}

func (d *devices) object(name string, finalizers []string) map[string]any {
	return map[string]any{"kind": fleet.KindDevice, "apiVersion": fleet.Group + "/" + fleet.Version, "metadata": map[string]any{
		"name": name, "uid": "uid-" + name, "resourceVersion": "1", "finalizers": finalizers,
	}}
}

func (d *devices) patch(w http.ResponseWriter, r *http.Request, name string) {
	d.patched[name]++
	if refused := d.answers[name]; refused != nil && refused(w) {
		return
	}
	var patch struct{ Metadata struct{ Finalizers []string } }
	if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	d.has[name] = patch.Metadata.Finalizers
	answer(w, http.StatusOK, d.object(name, d.has[name]))
}

// releaseAll releases with pauses that are short, and returns what is said of Devices.
func releaseAll(t *testing.T, d *devices) (Released, error) {
	t.Helper()
	r := newReleaser(clientOf(t, d), "fleet", Options{Quiet: 50 * time.Millisecond, Waiting: func() {}, Progress: func(rs []Released) { consistent(t, rs) }})
	r.busy, r.idle = time.Millisecond, 10*time.Millisecond
	err := errors.Join(r.run(t.Context()), r.refusals())
	consistent(t, r.summary())
	return r.summary()[1], err
}

func consistent(t *testing.T, rs []Released) {
	t.Helper()
	for _, r := range rs {
		if r.Released+r.Left > r.Found || r.Kept > r.Found || len(r.Refused) > r.Left {
			t.Errorf("inconsistent: %+v", r)
		}
	}
}

func TestReleaseFinalizers_WhatRefusesStopsNoOther(t *testing.T) {
	names := []string{"pi-bad", "pi-hooked"}
	for i := range 40 {
		names = append(names, fmt.Sprintf("pi-%d", i))
	}
	d := newDevices(names...)
	d.answers["pi-bad"] = func(w http.ResponseWriter) bool {
		refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "spec.x: Invalid value")
		return true
	}
	d.answers["pi-hooked"] = func(w http.ResponseWriter) bool {
		refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden, `admission webhook "w" denied the request`)
		return true
	}
	got, err := releaseAll(t, d)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "Device pi-bad: spec.x: Invalid value") || !strings.Contains(err.Error(), `Device pi-hooked: admission webhook "w"`) {
		t.Errorf("%v", err)
	}
	if got.Found != 42 || got.Released != 40 || got.Left != 2 || len(got.Refused) != 2 || got.Refused[0].Name != "pi-bad" {
		t.Errorf("%+v", got)
	}
	if d.patched["pi-bad"] != tries || d.patched["pi-1"] != 1 {
		t.Errorf("patched %v", d.patched)
	}
}

func TestReleaseFinalizers_TriesAgainWhatRefusedOnce(t *testing.T) {
	d := newDevices("pi-1", "pi-2")
	d.answers["pi-1"] = func(w http.ResponseWriter) bool {
		if d.patched["pi-1"] > 1 {
			return false
		}
		refuse(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, "failed calling webhook")
		return true
	}
	if got, err := releaseAll(t, d); err != nil || got.Released != 2 || got.Left != 0 || got.Refused != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReleaseFinalizers_HasAnEnd(t *testing.T) {
	t.Run("of conflicts", func(t *testing.T) {
		d := newDevices("pi-1", "pi-2")
		d.answers["pi-1"] = func(w http.ResponseWriter) bool {
			refuse(w, http.StatusConflict, metav1.StatusReasonConflict, "it was changed")
			return true
		}
		got, err := releaseAll(t, d)
		if !errors.Is(err, ErrUnsettled) || got.Released != 1 || got.Left != 1 || d.patched["pi-1"] != turns {
			t.Errorf("%+v, %v, patched %v", got, err, d.patched)
		}
	})
	t.Run("of new resources", func(t *testing.T) {
		d, n := newDevices(), 0
		d.listing = func(d *devices) { n++; d.has[fmt.Sprintf("pi-%d", n)] = []string{fleet.FinalizerDeviceData} }
		got, err := releaseAll(t, d)
		if !errors.Is(err, ErrUnsettled) || got.Released != turns || got.Left != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("of a patcher", func(t *testing.T) {
		d := newDevices("pi-1", "pi-2")
		d.listing = func(d *devices) { d.has["pi-1"] = []string{fleet.FinalizerDesiredState} }
		got, err := releaseAll(t, d)
		if !errors.Is(err, ErrPutBack) || got.Released != 1 || got.Left != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("of an API that is lost", func(t *testing.T) {
		d := newDevices()
		for i := range 200 {
			name := fmt.Sprintf("pi-%d", i)
			d.has[name] = []string{fleet.FinalizerDesiredState}
			d.answers[name] = func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }
		}
		got, err := releaseAll(t, d)
		if err == nil || got.Left != 200 || len(d.patched) > 2*unanswered {
			t.Errorf("%d left, %d were patched, %v", got.Left, len(d.patched), err)
		}
	})
}

func TestReleaseFinalizers_CountsWhatIsGone(t *testing.T) {
	d := newDevices("pi-1", "pi-2")
	d.listing = func(d *devices) {
		if d.patched["pi-1"] > 0 { // it was being deleted
			delete(d.has, "pi-1")
		}
	}
	if got, err := releaseAll(t, d); err != nil || got.Found != 2 || got.Released != 2 || got.Left != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
