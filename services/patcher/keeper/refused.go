package keeper

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"harmony.dev/fleet"
)

// maxShown is how many refused resources of a kind the health names; the count is exact.
const maxShown = 10

// refused keeps account of the resources that are not mirrored as they are. Each is logged once per
// reason.
type refused struct {
	log *slog.Logger

	mu      sync.Mutex
	kinds   map[string]map[string]fleet.Poison // "deployments" or "devices" → name → why
	lasting map[ref]struct{}                   // of these, those for which it is no use to wait a moment
}

func newRefused(log *slog.Logger) *refused {
	return &refused{log: log, kinds: map[string]map[string]fleet.Poison{}, lasting: map[ref]struct{}{}}
}

// add sets a resource aside. Kept says that the mirror still has an earlier value.
func (r *refused) add(of ref, resource *unstructured.Unstructured, err error, kept bool) {
	kind := of.kind.Resource
	version, _ := strconv.ParseUint(resource.GetResourceVersion(), 10, 64) // shown only
	p := fleet.Poison{Bucket: kind, Key: of.name, Revision: version, Error: err.Error(), Kept: kept}
	r.mu.Lock()
	if r.kinds[kind] == nil {
		r.kinds[kind] = map[string]fleet.Poison{}
	}
	before, known := r.kinds[kind][p.Key]
	r.kinds[kind][p.Key] = p
	r.mu.Unlock()
	if !known || before.Error != p.Error {
		r.log.Warn("resource is not mirrored", "kind", of.kind.Name, "name", of.name, "err", err)
	}
}

// stay notes that a resource will be set aside for longer than a moment, and reports whether that is news.
func (r *refused) stay(of ref) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.lasting[of]
	r.lasting[of] = struct{}{}
	return !known
}

// stays reports whether stay was called for a resource that is set aside.
func (r *refused) stays(of ref) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, is := r.lasting[of]
	return is
}

func (r *refused) clear(of ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.kinds[of.kind.Resource], of.name)
	delete(r.lasting, of)
}

func (r *refused) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.kinds)
	clear(r.lasting)
}

// fill adds the resources of a kind that are set aside to its source.
func (r *refused) fill(s *fleet.Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	aside := r.kinds[s.Name]
	s.Poison += len(aside)
	for _, name := range slices.Sorted(maps.Keys(aside)) {
		if len(s.Set) == maxShown {
			return
		}
		s.Set = append(s.Set, aside[name])
	}
}
