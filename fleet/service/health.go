package service

import (
	"maps"
	"slices"
	"sync"
	"time"

	"harmony.dev/fleet"
)

// Health gathers what the parts of an instance say of themselves. The functions given to it are called
// at every probe, from several goroutines: they must be quick and must not block.
type Health struct {
	identity fleet.Health // the fields that never change

	mu         sync.Mutex
	links      []*link
	stopped    []func() bool // micro services that no longer answer
	sources    []sourceFunc
	lease      func() *fleet.LeaseHealth
	converging func() bool
	waiting    func() []fleet.Reason
	degraded   map[string]fleet.Reason
	held       *fleet.Reason
	ending     *fleet.Reason
	setUp      bool
	beat       time.Time // of the process's own loop
}

type sourceFunc struct {
	name     string
	required bool
	f        func() fleet.Source
}

func newHealth(identity fleet.Health) *Health {
	return &Health{identity: identity, degraded: map[string]fleet.Reason{}, beat: time.Now()}
}

// Source adds a source, or replaces the one of that name. The instance is ready only while every
// required source is synced.
func (h *Health) Source(name string, required bool, f func() fleet.Source) {
	h.mu.Lock()
	defer h.mu.Unlock()
	added := sourceFunc{name, required, f}
	if i := slices.IndexFunc(h.sources, func(s sourceFunc) bool { return s.name == name }); i >= 0 {
		h.sources[i] = added
		return
	}
	h.sources = append(h.sources, added)
}

// Lease says where to ask about the lease; f may return nil.
func (h *Health) Lease(f func() *fleet.LeaseHealth) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lease = f
}

// Degraded sets a reason under a key of the caller's choice, or clears it (nil).
func (h *Health) Degraded(key string, r *fleet.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r == nil {
		delete(h.degraded, key)
		return
	}
	h.degraded[key] = *r
}

// Held says that the brake holds deletes back, or no longer (nil).
func (h *Health) Held(r *fleet.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r != nil {
		kept := *r
		r = &kept
	}
	h.held = r
}

// Converging says where to ask whether something derived is not written yet.
func (h *Health) Converging(f func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.converging = f
}

// Waiting says where to ask what derived things wait for: while there is a reason the instance is
// converging, and shows it.
func (h *Health) Waiting(f func() []fleet.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = f
}

// Snapshot returns the health now.
func (h *Health) Snapshot() fleet.Health {
	h.mu.Lock()
	in := inputs{Ending: h.ending, SetUp: h.setUp, Held: h.held, Connected: len(h.links) > 0}
	for _, key := range slices.Sorted(maps.Keys(h.degraded)) {
		in.Degraded = append(in.Degraded, h.degraded[key])
	}
	links, sources, stopped := slices.Clone(h.links), slices.Clone(h.sources), slices.Clone(h.stopped)
	lease, converging, waiting := h.lease, h.converging, h.waiting
	h.mu.Unlock()

	// From here on without the lock: the functions take locks of their own.
	for _, l := range links {
		in.Connected = in.Connected && l.connected()
		if r := l.reason(); r != nil {
			in.Degraded = append(in.Degraded, *r)
		}
	}
	for _, f := range stopped {
		if f() && in.Ending == nil {
			in.Ending = &fleet.Reason{Reason: reasonFailed, Message: "the micro service has stopped"}
		}
	}
	for _, s := range sources {
		got := s.f()
		got.Name = s.name
		in.Sources = append(in.Sources, source{got, s.required})
	}
	in.Converging = converging != nil && converging()
	if waiting != nil {
		in.Waiting = waiting()
	}
	return h.compose(judge(in), in, lease)
}

func (h *Health) compose(v verdict, in inputs, lease func() *fleet.LeaseHealth) fleet.Health {
	got := h.identity
	got.State, got.Ready, got.Reasons = v.State, v.Ready, v.Reasons
	for i := range got.Reasons {
		got.Reasons[i].Message = Redact(got.Reasons[i].Message)
	}
	got.Sources = make([]fleet.Source, 0, len(in.Sources))
	for _, s := range in.Sources {
		got.Sources = append(got.Sources, s.Source)
	}
	if lease != nil {
		got.Lease = lease()
	}
	got.AsOf = time.Now().UTC()
	return got
}

// Reasons for an ending process.
const (
	reasonStopping = "Stopping"
	reasonFailed   = "Failed"
)

// end makes the instance not ready for good. The first reason stays.
func (h *Health) end(reason, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending == nil {
		h.ending = &fleet.Reason{Reason: reason, Message: message}
	}
}

func (h *Health) markSetUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.setUp = true
}

func (h *Health) addLink(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links = append(h.links, l)
}

func (h *Health) addServer(stopped func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = append(h.stopped, stopped)
}

// maxSilence is how long the process's loop may be silent before it counts as dead. The loop beats
// every second and waits for nothing outside the process.
const maxSilence = 15 * time.Second

func (h *Health) markBeat(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beat = now
}

func (h *Health) alive(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Sub(h.beat) < maxSilence
}

func (h *Health) linkList() []*link {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.links)
}
