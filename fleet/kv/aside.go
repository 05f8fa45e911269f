package kv

import (
	"log/slog"
	"maps"
	"slices"
	"sync"

	"harmony.dev/fleet"
)

// asideSample is how many of the entries set aside are shown.
const asideSample = 10

// Aside keeps account of entries set aside: those whose key or value is not of the contract. The
// count is exact, the sample bounded, and each entry is logged once. It is safe for concurrent use.
type Aside struct {
	bucket string
	log    *slog.Logger

	mu     sync.Mutex
	bad    map[string]fleet.Poison
	logged map[string]uint64 // revision, of entries that Reset has taken out of bad
}

// NewAside returns an empty account for a bucket.
func NewAside(bucket string, log *slog.Logger) *Aside {
	return &Aside{bucket: bucket, log: log, bad: map[string]fleet.Poison{}}
}

// Add sets an entry aside because of err. Kept says that an earlier good value still counts.
func (a *Aside) Add(m Message, err error, kept bool) {
	a.mu.Lock()
	_, known := a.bad[m.Key]
	revision, was := a.logged[m.Key]
	a.bad[m.Key] = fleet.Poison{Bucket: a.bucket, Key: m.Key, Revision: m.Revision, Error: err.Error(), Kept: kept}
	a.mu.Unlock()
	if known || was && revision == m.Revision {
		return
	}
	a.log.Warn("entry set aside", "bucket", a.bucket, "key", m.Key, "revision", m.Revision, "err", err)
}

// Clear forgets a key that is good again or gone.
func (a *Aside) Clear(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.bad, key)
	delete(a.logged, key)
}

// Reset forgets everything, before the bucket is read from the beginning. An entry that is found
// again as it was is not logged again.
func (a *Aside) Reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logged = make(map[string]uint64, len(a.bad))
	for key, p := range a.bad {
		a.logged[key] = p.Revision
	}
	clear(a.bad)
}

// Fill puts the account into a source's health: the count, and the first entries by key.
func (a *Aside) Fill(s *fleet.Source) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Poison = len(a.bad)
	s.Set = nil
	keys := slices.Sorted(maps.Keys(a.bad))
	for _, key := range keys[:min(len(keys), asideSample)] {
		s.Set = append(s.Set, a.bad[key])
	}
}
