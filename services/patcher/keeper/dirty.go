package keeper

import (
	"maps"
	"slices"
	"sync"
)

// dirty is the set of resources that may have changed since they were last looked at.
type dirty struct {
	wake chan struct{} // holds an item while the set may be non-empty

	mu   sync.Mutex
	refs map[ref]struct{}
}

func newDirty() *dirty {
	return &dirty{wake: make(chan struct{}, 1), refs: map[ref]struct{}{}}
}

func (d *dirty) add(r ref) {
	d.mu.Lock()
	d.refs[r] = struct{}{}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// take empties the set.
func (d *dirty) take() []ref {
	d.mu.Lock()
	defer d.mu.Unlock()
	refs := slices.Collect(maps.Keys(d.refs))
	clear(d.refs)
	return refs
}

func (d *dirty) empty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.refs) == 0
}
