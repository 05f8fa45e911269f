package kv

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"harmony.dev/fleet"
)

const (
	// asideSample is how many of the entries set aside are shown.
	asideSample = 10
	// asideDetail is of how many more is kept than that they are set aside: a device may publish any
	// number of bad keys. asideReason is how many characters of the reason are kept.
	asideDetail = 1000
	asideReason = 512
	// asideBurst entries are logged at once, then one each asideEvery.
	asideBurst = 10
	asideEvery = time.Second
)

// Aside keeps account of entries set aside: those whose key or value is not of the contract. The
// count is exact, each entry costs a few bytes, and more is kept of the first by key alone. Each is
// logged once until it is cleared, as far as the pace of the log allows: a line says how many were left
// out before it. It is safe for concurrent use.
type Aside struct {
	bucket string
	log    *slog.Logger
	seed   maphash.Seed

	mu     sync.Mutex
	bad    map[uint64]uint64 // revision, by the hash of the key
	before map[uint64]uint64 // the same, of entries that Reset has taken out of bad
	detail []fleet.Poison    // of some of them, sorted by key
	next   time.Time         // when the next line is due at an even pace
	silent int               // lines left out since the last one
}

// NewAside returns an empty account for a bucket.
func NewAside(bucket string, log *slog.Logger) *Aside {
	return &Aside{bucket: bucket, log: log, seed: maphash.MakeSeed(), bad: map[uint64]uint64{}}
}

// Add sets an entry aside because of err. Kept says that an earlier good value still counts.
func (a *Aside) Add(m Message, err error, kept bool) {
	news, leftOut := a.add(m, err, kept)
	if news {
		a.log.Warn("entry set aside", "bucket", a.bucket, "key", m.Key, "revision", m.Revision, "left_out", leftOut, "err", err)
	}
}

// add reports whether the entry is to be logged, and how many were not before it.
func (a *Aside) add(m Message, err error, kept bool) (news bool, leftOut int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	hash := maphash.String(a.seed, m.Key)
	_, known := a.bad[hash]
	revision, again := a.before[hash]
	a.bad[hash] = m.Revision
	delete(a.before, hash)
	a.describe(m, err, kept)
	if known || again && revision == m.Revision || !a.mayLog(time.Now()) {
		return false, 0
	}
	leftOut, a.silent = a.silent, 0
	return true, leftOut
}

// describe keeps the detail of an entry, when it is one of the first by key.
func (a *Aside) describe(m Message, err error, kept bool) {
	i, known := a.find(m.Key)
	if i == asideDetail {
		return
	}
	p := fleet.Poison{Bucket: a.bucket, Key: m.Key, Revision: m.Revision, Error: fmt.Sprintf("%.*s", asideReason, err), Kept: kept}
	if known {
		a.detail[i] = p
		return
	}
	a.detail = slices.Insert(a.detail[:min(len(a.detail), asideDetail-1)], i, p)
}

func (a *Aside) find(key string) (int, bool) {
	return slices.BinarySearchFunc(a.detail, key, func(p fleet.Poison, key string) int { return strings.Compare(p.Key, key) })
}

// mayLog reports whether the pace allows a line, and counts one that it does not.
func (a *Aside) mayLog(now time.Time) bool {
	if now.Before(a.next.Add(-(asideBurst - 1) * asideEvery)) {
		a.silent++
		return false
	}
	if a.next.Before(now) {
		a.next = now
	}
	a.next = a.next.Add(asideEvery)
	return true
}

// Clear forgets a key that is good again or gone.
func (a *Aside) Clear(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.bad) == 0 && len(a.before) == 0 {
		return
	}
	hash := maphash.String(a.seed, key)
	delete(a.bad, hash)
	delete(a.before, hash)
	if i, ok := a.find(key); ok {
		a.detail = slices.Delete(a.detail, i, i+1)
	}
}

// Reset forgets everything, before the bucket is read from the beginning. An entry that is found
// again as it was is not logged again.
func (a *Aside) Reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before, a.bad, a.detail = a.bad, map[uint64]uint64{}, nil
}

// Fill puts the account into a source's health: the count, and the first entries by key of which the
// detail is kept.
func (a *Aside) Fill(s *fleet.Source) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Poison = len(a.bad)
	s.Set = append([]fleet.Poison(nil), a.detail[:min(len(a.detail), asideSample)]...)
}
