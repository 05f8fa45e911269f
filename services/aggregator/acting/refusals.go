package acting

import (
	"maps"
	"sync"
	"time"
)

const (
	// refusedMost is the longest pause between two requests about something that was refused.
	refusedMost = 10 * time.Second
	// refusedFor is how long a pause is remembered that is over: when many are refused, the rate of requests
	// lets each wait for longer than its pause.
	refusedFor = 10 * time.Minute
	// fewRefusals are not worth tidying up.
	fewRefusals = 64
)

// refusals remembers what the patcher refused, so that one resource it will never take costs little. It
// is safe for concurrent use.
type refusals[Key comparable] struct {
	least time.Duration // pause after the first refusal, which doubles with each

	mu    sync.Mutex
	pause map[Key]pause
	tidy  int // how many pauses make it worth to look for those that nobody waits for
}

type pause struct {
	after  outcome
	length time.Duration
	until  time.Time
}

func newRefusals[Key comparable](least time.Duration) *refusals[Key] {
	return &refusals[Key]{least: least, pause: map[Key]pause{}}
}

// pausing reports whether it is too early to ask again, and what became of the last request.
func (r *refusals[Key]) pausing(k Key, now time.Time) (after outcome, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pause[k]
	return p.after, now.Before(p.until)
}

// has reports whether the last request about it was refused.
func (r *refusals[Key]) has(k Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, refused := r.pause[k]
	return refused
}

// note takes in what became of a request. Only a refusal of this one counts: whoever was not answered
// asks again as soon as anybody is.
func (r *refusals[Key]) note(k Key, o outcome, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune(now)
	switch o {
	case done:
		delete(r.pause, k)
	case again, rebuild:
		length := min(max(2*r.pause[k].length, r.least), refusedMost)
		r.pause[k] = pause{after: o, length: length, until: now.Add(length)}
	case silence, deposed:
	}
}

// prune drops the pauses that ended long ago: what was refused is gone, or it would have been asked about
// again. It looks at them once they have doubled, so that a note costs O(1).
func (r *refusals[Key]) prune(now time.Time) {
	if len(r.pause) < max(r.tidy, fewRefusals) {
		return
	}
	maps.DeleteFunc(r.pause, func(_ Key, p pause) bool { return now.Sub(p.until) > refusedFor })
	r.tidy = 2 * len(r.pause)
}
