package dashboard

import (
	"context"
	"sync"
	"time"

	"harmony.dev/cli/picture"
)

// cache keeps the answers to the questions of single pages, so that many who look at one page ask once, and an answer
// stays when its service falls silent.
type cache struct {
	every time.Duration

	mu      sync.Mutex
	entries map[string]*entry
}

// entry is one question. Its lock is held while it is asked.
type entry struct {
	mu   sync.Mutex
	part any // picture.Part of something
	err  error
	next time.Time // not before, it is asked again
	used time.Time // guarded by the lock of the cache
}

// keepFor is how long an answer is kept that nobody looks at.
const keepFor = time.Minute

func newCache(every time.Duration) *cache { return &cache{every: every, entries: map[string]*entry{}} }

// entry returns the entry of a question, and drops what nobody has used for long.
func (c *cache) entry(key string, now time.Time) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.entries {
		if now.Sub(e.used) > keepFor {
			delete(c.entries, k)
		}
	}
	e := c.entries[key]
	if e == nil {
		e = &entry{}
		c.entries[key] = e
	}
	e.used = now
	return e
}

// asked returns what a question was last answered, which is asked again when that is due. The error is that of the last
// time, when the value is older or there is none.
func asked[T any](ctx context.Context, c *cache, key string, ask func(context.Context) picture.Answer[T]) (picture.Part[T], error) {
	e := c.entry(key, time.Now())
	e.mu.Lock()
	defer e.mu.Unlock()
	part, _ := e.part.(picture.Part[T])
	if time.Now().Before(e.next) {
		return part, e.err
	}
	began := time.Now()
	asking, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	a := ask(asking)
	if ctx.Err() != nil { // who asked has left: that says nothing of the service
		return part, ctx.Err()
	}
	part = part.Take(&a, time.Now())
	e.part, e.err = part, a.Err
	e.next = time.Now().Add(max(c.every, restFactor*time.Since(began)))
	return part, e.err
}
