package acting

import (
	"sync"
	"time"
)

// account is what was not delivered at the last tick, and why. It is safe for concurrent use.
type account struct {
	mu    sync.Mutex
	n     int
	since time.Time // own clock: since when there has been something
	why   error     // that of the last one
}

// blame takes note of why one is not delivered.
func (a *account) blame(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.why = err
}

// set takes note of how many are not.
func (a *account) set(n int, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == 0 {
		a.since = now
	}
	if a.n = n; n == 0 {
		a.why = nil
	}
}

// get returns how many are not, for how long there have been any, and why the last one is not.
func (a *account) get(now time.Time) (n int, age time.Duration, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n, now.Sub(a.since), a.why
}
