package dashboard

import (
	"context"
	"sync"
	"time"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
)

// cache keeps the answers to the questions of single pages, so that many who look at one page ask once, and an answer
// stays when its service falls silent.
type cache struct {
	every time.Duration

	mu      sync.Mutex
	entries map[string]*entry
}

// entry is one question.
type entry struct {
	used time.Time // guarded by the lock of the cache

	mu     sync.Mutex
	part   any // picture.Part of something
	err    error
	next   time.Time     // not before, it is asked again
	asking chan struct{} // closed when the question is answered, nil while none is on its way
}

const (
	keepFor    = time.Minute // an answer that nobody looks at
	maxEntries = 512         // of whoever asks for pages of all names
)

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
		if len(c.entries) >= maxEntries {
			c.dropOldest()
		}
		e = &entry{}
		c.entries[key] = e
	}
	e.used = now
	return e
}

// dropOldest drops what was not used for longest.
func (c *cache) dropOldest() {
	oldest := ""
	for k, e := range c.entries {
		if oldest == "" || e.used.Before(c.entries[oldest].used) {
			oldest = k
		}
	}
	delete(c.entries, oldest)
}

// asked returns what a question was last answered. When it is due the question is asked again, and the answer waited for:
// for a part of a round when there is an older one, so that nobody is kept from seeing that no answer comes. The error is that of
// the last time, when the value is older or there is none.
func asked[T any](ctx context.Context, c *cache, key string, ask func(context.Context) picture.Answer[T]) (picture.Part[T], error) {
	e := c.entry(key, time.Now())
	e.mu.Lock()
	if e.asking == nil && !time.Now().Before(e.next) {
		e.asking = make(chan struct{})
		go answered(context.WithoutCancel(ctx), c, e, ask)
	}
	asking, patience := e.asking, c.every/4
	if e.part == nil {
		patience = answerWithin
	}
	e.mu.Unlock()
	if asking != nil {
		select {
		case <-asking:
		case <-ctx.Done():
		case <-time.After(patience):
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	part, _ := e.part.(picture.Part[T])
	if e.part == nil && e.err == nil {
		return part, fleet.Errorf(fleet.CodeUnavailable, "Timeout", "no answer yet")
	}
	return part, e.err
}

// answered asks, and keeps the answer. It does not end with who asked first: others may wait for it.
func answered[T any](ctx context.Context, c *cache, e *entry, ask func(context.Context) picture.Answer[T]) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	a := ask(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	part, _ := e.part.(picture.Part[T])
	e.part, e.err = part.Take(&a, time.Now()), a.Err
	e.next = time.Now().Add(c.every) // one question is on its way at a time
	if a.Err == nil {
		e.next = time.Now().Add(rest(c.every, time.Since(began)))
	}
	close(e.asking)
	e.asking = nil
}
