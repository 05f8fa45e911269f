package service

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"runtime/pprof"
	"slices"
	"sync"
)

// Fault points beside the members of the run group.
const (
	pointEndpoint = "endpoint" // the handler of the next request to the health endpoint panics
	pointHTTP     = "handler"  // an HTTP handler panics
	pointChild    = "child"    // a goroutine panics that nobody waits for, as one inside a library would
)

// faults lets tests have a goroutine panic at a moment of their choice. It is there with --enable-fault-points
// only; a nil *faults does nothing.
//
//	GET  /fault/goroutines        the names of the running members, and of the goroutines that they started
//	GET  /fault/stacks            of all goroutines
//	POST /fault/panic?point=NAME  one of these, or one of the points above
type faults struct {
	mu     sync.Mutex
	points map[string]chan struct{} // closed to have it panic; by name
	counts map[string]int           // goroutines by name
}

func newFaults() *faults {
	return &faults{points: map[string]chan struct{}{pointEndpoint: make(chan struct{})}, counts: map[string]int{}}
}

// guard runs a member, or what it started, and panics in its place when told to.
func (f *faults) guard(ctx context.Context, m member) outcome {
	if f == nil {
		return guarded(ctx, m)
	}
	told := f.enter(m.name)
	defer f.leave(m.name)
	done := make(chan outcome, 1)
	go func() { done <- guarded(ctx, m) }()
	select {
	case o := <-done:
		return o
	case <-told:
		return guarded(ctx, member{m.name, func(context.Context) error { return faultPanic() }})
	}
}

// hit panics when the point was told to.
func (f *faults) hit(point string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	told := f.points[point]
	f.mu.Unlock()
	select {
	case <-told:
		_ = faultPanic()
	default:
	}
}

func (f *faults) enter(name string) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[name]++; f.points[name] == nil {
		f.points[name] = make(chan struct{})
	}
	return f.points[name]
}

func (f *faults) leave(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[name]--; f.counts[name] == 0 {
		delete(f.counts, name)
		delete(f.points, name)
	}
}

// tell has a point panic, and reports whether there is one of that name.
func (f *faults) tell(point string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	told, found := f.points[point]
	if !found {
		return false
	}
	select {
	case <-told: // already
	default:
		close(told)
	}
	return true
}

func (f *faults) members() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.counts))
}

func (f *faults) serve(mux *http.ServeMux) {
	mux.HandleFunc("GET /fault/goroutines", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(f.members()) // the client is gone: nobody to tell
	})
	mux.HandleFunc("GET /fault/stacks", func(w http.ResponseWriter, _ *http.Request) {
		_ = pprof.Lookup("goroutine").WriteTo(w, 2) // the client is gone: nobody to tell
	})
	mux.HandleFunc("POST /fault/panic", func(w http.ResponseWriter, r *http.Request) {
		switch point := r.FormValue("point"); {
		case point == pointHTTP:
			_ = faultPanic()
		case point == pointChild:
			go func() { _ = faultPanic() }()
		case !f.tell(point):
			http.Error(w, "no such fault point", http.StatusNotFound)
		}
	})
}

func faultPanic() error {
	panic(errors.New("fault point")) //nolint:forbidigo // that is what it is for
}
