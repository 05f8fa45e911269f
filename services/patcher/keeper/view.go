package keeper

import (
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/patcher/mirror"
)

// disturbance is why the mirror has to be read and repaired.
type disturbance struct{ why error }

// view is the mirror as the bucket has it. It implements [kv.View].
type view struct {
	disturbed chan disturbance // holds an item when the mirror is no longer what it has to be
	changed   func(ref)        // called for a resource whose key lost its message
	aside     *kv.Aside

	mu     sync.Mutex
	stored mirror.Stored
	tail   bool   // the pass is synced: what comes now is news
	fence  uint64 // the revision that _epoch is at, 0 while this process holds no lease
}

func newView(log *slog.Logger, changed func(ref)) *view {
	return &view{
		disturbed: make(chan disturbance, 1),
		changed:   changed,
		aside:     kv.NewAside(fleet.BucketResources, log),
		stored:    mirror.Stored{},
	}
}

// Begin starts over when the stream is another one.
func (v *view) Begin(p kv.Pass) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tail = false
	if p.NewIncarnation {
		clear(v.stored)
		v.aside.Reset()
	}
}

// Apply takes in one message.
func (v *view) Apply(m kv.Message) {
	if fleet.IsReserved(m.Key) {
		v.applyReserved(m)
		return
	}
	v.mu.Lock()
	foreign, err := v.take(m)
	disturbed := v.tail && foreign
	v.mu.Unlock()
	if err != nil {
		v.aside.Add(m, err, false)
	} else {
		v.aside.Clear(m.Key)
	}
	if disturbed {
		v.disturb(errDisturbed)
	}
	if r, err := refOf(m.Key); err == nil && m.Op == kv.Expired {
		v.changed(r)
	}
}

func (v *view) take(m kv.Message) (foreign bool, err error) {
	switch m.Op {
	case kv.Put:
		return v.stored.Put(m.Key, m.Value, v.author(m))
	case kv.Delete, kv.Purge:
		return true, v.stored.Mark(m.Key)
	case kv.Expired, kv.Swept:
		v.stored.Forget(m.Key)
		return false, nil
	}
	return false, fmt.Errorf("apply a message of the mirror: unknown operation %v", m.Op)
}

// applyReserved notices when somebody else touches the epoch or the mark of a whole mirror: readers take
// the mirror for whole only while the one names the other.
func (v *view) applyReserved(m kv.Message) {
	v.mu.Lock()
	foreign := false
	switch {
	case !v.tail:
	case m.Key == fleet.KeySynced:
		foreign = m.Op != kv.Put || v.author(m) == 0
	case m.Key == fleet.KeyEpoch && v.fence != 0 && m.Revision > v.fence:
		foreign, v.fence = true, m.Revision
	}
	v.mu.Unlock()
	if foreign {
		v.disturb(errDisturbed)
	}
}

// author returns the epoch that a value was written under, 0 when it is none: the fence lets nothing pass
// but what carries the revision of _epoch. Without the lease that cannot be judged: an _epoch that was
// soon followed by another may never have been in view.
func (v *view) author(m kv.Message) uint64 {
	if v.tail && v.fence != 0 && m.Revision > v.fence && m.Epoch() != v.fence {
		return 0
	}
	return m.Epoch()
}

// under says which epoch of one's own the bucket is at, 0 for none.
func (v *view) under(epoch uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fence = epoch
}

// Synced makes everything after it news.
func (v *view) Synced(kv.Pass) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tail = true
}

// Lost wakes the holder: it has to begin again.
func (v *view) Lost(error) {
	v.mu.Lock()
	v.tail = false
	v.mu.Unlock()
	v.disturb(errDisturbed)
}

func (v *view) disturb(err error) {
	select {
	case v.disturbed <- disturbance{err}:
	default:
	}
}

// calm forgets disturbances: what caused them is in view and about to be repaired.
func (v *view) calm() {
	select {
	case <-v.disturbed:
	default:
	}
}

// all returns what the bucket holds.
func (v *view) all() mirror.Stored {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.stored)
}

// shows reports whether the bucket has an own value under a key that says what the resource is.
func (v *view) shows(key string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stored[key].Shows()
}

// some returns what the bucket holds of these resources.
func (v *view) some(refs []ref) mirror.Stored {
	v.mu.Lock()
	defer v.mu.Unlock()
	some := make(mirror.Stored, len(refs))
	for _, r := range refs {
		if entry, ok := v.stored[r.key()]; ok {
			some[r.key()] = entry
		}
	}
	return some
}
