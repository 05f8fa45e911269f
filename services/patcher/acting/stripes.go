package acting

import (
	"hash/maphash"
	"sync"
)

// stripes lets one request at a time through for each name; a few names share a lock.
type stripes struct {
	seed  maphash.Seed
	locks [64]sync.Mutex
}

func newStripes() *stripes { return &stripes{seed: maphash.MakeSeed()} }

// lock waits for the name's turn and returns what ends it.
func (s *stripes) lock(name string) (unlock func()) {
	l := &s.locks[maphash.String(s.seed, name)%uint64(len(s.locks))]
	l.Lock()
	return l.Unlock
}
