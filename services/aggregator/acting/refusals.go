package acting

import (
	"sync"
	"time"
)

// refusedMost is the longest pause between two requests about something that was refused.
const refusedMost = 10 * time.Second

// refusals remembers what the patcher refused, so that one resource it will never take costs little. It
// is safe for concurrent use.
type refusals[Key comparable] struct {
	least time.Duration // pause after the first refusal, which doubles with each

	mu    sync.Mutex
	pause map[Key]pause
}

type pause struct {
	length time.Duration
	until  time.Time
}

func newRefusals[Key comparable](least time.Duration) *refusals[Key] {
	return &refusals[Key]{least: least, pause: map[Key]pause{}}
}

// pausing reports whether it is too early to ask again.
func (r *refusals[Key]) pausing(k Key, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Before(r.pause[k].until)
}

// note takes in what became of a request. Only a refusal of this one counts: whoever was not answered
// asks again as soon as anybody is.
func (r *refusals[Key]) note(k Key, o outcome, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch o {
	case done:
		delete(r.pause, k)
	case again:
		length := min(max(2*r.pause[k].length, r.least), refusedMost)
		r.pause[k] = pause{length: length, until: now.Add(length)}
	case silence, deposed:
	}
}
