package kube

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Store holds the resources of one kind by name: what the watch brought, and over it what own writes
// returned, until the watch has seen as much. Resources are shared: nobody changes them. It is safe for
// concurrent use.
type Store struct {
	changed func(name string) // called without the lock, from any goroutine

	mu      sync.RWMutex
	cached  map[string]*unstructured.Unstructured
	written map[string]written
	seen    uint64 // the resource version up to which cached is complete
}

// written is what an own write returned.
type written struct {
	resource *unstructured.Unstructured
	version  uint64
	at       time.Time
}

// NewStore returns an empty store that calls changed for every resource that may have changed.
func NewStore(changed func(name string)) *Store {
	return &Store{
		changed: changed,
		cached:  map[string]*unstructured.Unstructured{},
		written: map[string]written{},
	}
}

// Get returns a resource, nil when there is none.
func (s *Store) Get(name string) *unstructured.Unstructured {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if w, ok := s.written[name]; ok && w.version > s.seen {
		return w.resource
	}
	return s.cached[name]
}

// Names returns the names of all resources, sorted.
func (s *Store) Names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := slices.AppendSeq(slices.Collect(maps.Keys(s.cached)), maps.Keys(s.written))
	slices.Sort(names)
	return slices.Compact(names)
}

// Len returns how many resources the watch brought.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.cached)
}

// Seen returns the resource version up to which the watch brought everything.
func (s *Store) Seen() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.seen
}

// Written takes in what an own write returned at that time.
func (s *Store) Written(resource *unstructured.Unstructured, at time.Time) {
	version := versionOf(resource.GetResourceVersion())
	name := resource.GetName()
	s.mu.Lock()
	newer := version > s.seen && version > s.written[name].version
	if newer {
		s.written[name] = written{resource, version, at}
	}
	s.mu.Unlock()
	if newer {
		s.changed(name)
	}
}

// put takes in a resource of the watch.
func (s *Store) put(resource *unstructured.Unstructured) {
	s.mu.Lock()
	s.cached[resource.GetName()] = resource
	s.see(resource)
	s.mu.Unlock()
	s.changed(resource.GetName())
}

// remove takes in the last state of a resource that is gone.
func (s *Store) remove(resource *unstructured.Unstructured) {
	s.mu.Lock()
	delete(s.cached, resource.GetName())
	s.see(resource)
	s.mu.Unlock()
	s.changed(resource.GetName())
}

// advance takes in that the watch has got that far.
func (s *Store) advance(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = max(s.seen, versionOf(version))
}

// replace takes in a whole list that was begun at that time: it contains every write that had returned
// by then, also when the apiserver's versions went backwards since. It reports whether they did: lists
// are quorum reads, so the version of one is at least that of everything known before it began.
func (s *Store) replace(list []*unstructured.Unstructured, version string, begun time.Time) (wentBack bool) {
	next := make(map[string]*unstructured.Unstructured, len(list))
	for _, r := range list {
		next[r.GetName()] = r
	}
	s.mu.Lock()
	before, known := s.cached, s.seen
	s.cached, s.seen = next, versionOf(version)
	var dropped []string
	for name, w := range s.written {
		if w.at.Before(begun) {
			known = max(known, w.version)
		}
		if w.at.Before(begun) || w.version <= s.seen {
			delete(s.written, name)
			dropped = append(dropped, name)
		}
	}
	s.mu.Unlock()
	for _, name := range dropped {
		s.changed(name)
	}
	for name := range before {
		if next[name] == nil {
			s.changed(name)
		}
	}
	for name, r := range next {
		if b := before[name]; b == nil || b.GetResourceVersion() != r.GetResourceVersion() || b.GetUID() != r.GetUID() {
			s.changed(name)
		}
	}
	listed := versionOf(version)
	return listed != 0 && listed < known
}

func (s *Store) see(resource *unstructured.Unstructured) {
	s.seen = max(s.seen, versionOf(resource.GetResourceVersion()))
	if w, ok := s.written[resource.GetName()]; ok && w.version <= s.seen {
		delete(s.written, resource.GetName())
	}
}

// versionOf reads a resource version as a number. One that is none counts as 0, the oldest: then the
// watch wins, and nothing has gone back.
func versionOf(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func resourceOf(obj any) (*unstructured.Unstructured, error) {
	r, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("read a watch event: unexpected type %T", obj)
	}
	return r, nil
}
