package holder

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"harmony.dev/fleet"
)

const (
	askTimeout  = 3 * time.Second        // for one answer of the patcher
	askPause    = 250 * time.Millisecond // before asking again, doubled each time …
	askPauseMax = 30 * time.Second       // … up to this
	askAtOnce   = 8                      // requests in flight
)

// ask is something to ask the patcher for.
type ask struct {
	key  string // what it is about, unique
	once bool   // done when it was answered; else it is asked again as long as it is wanted
	call func(context.Context) error
}

// asker asks, and asks again: it keeps for each ask how often it was made and when it is due. What
// is to be asked follows the view, so an answer "done" changes nothing here: the ask goes when the view
// no longer calls for it.
type asker struct {
	log  *slog.Logger
	wake chan struct{}

	mu  sync.Mutex
	all map[string]*asked
}

type asked struct {
	ask
	wanted bool // by the last want, or once
	busy   bool
	times  int
	due    time.Time
}

func newAsker(log *slog.Logger) *asker {
	return &asker{log: log, wake: make(chan struct{}, 1), all: map[string]*asked{}}
}

// want replaces what is asked for again and again. What was wanted before keeps its place in time.
func (a *asker) want(asks []ask) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.all {
		x.wanted = x.once
	}
	for _, x := range asks {
		a.add(x)
	}
	for key, x := range a.all {
		if !x.wanted {
			delete(a.all, key)
		}
	}
	a.notify()
}

// tell adds something to be asked once.
func (a *asker) tell(x ask) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x.once = true
	a.add(x)
	a.notify()
}

func (a *asker) add(x ask) {
	if known := a.all[x.key]; known != nil {
		known.wanted = true
		return
	}
	a.all[x.key] = &asked{ask: x, wanted: true}
}

func (a *asker) notify() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run asks until ctx is done, then forgets everything. It returns nil.
func (a *asker) run(ctx context.Context) error {
	places := make(chan struct{}, askAtOnce)
	var flying sync.WaitGroup
	defer func() {
		flying.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		clear(a.all)
	}()
	for {
		for _, x := range a.takeDue(time.Now()) {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			flying.Go(func() {
				defer func() { <-places }()
				a.make(ctx, x)
			})
		}
		timer := time.NewTimer(a.nextDue(time.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-a.wake:
			timer.Stop()
		}
	}
}

// takeDue marks what is due as being asked.
func (a *asker) takeDue(now time.Time) []*asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	var due []*asked
	for _, x := range a.all {
		if !x.busy && !x.due.After(now) {
			x.busy = true
			due = append(due, x)
		}
	}
	return due
}

// nextDue returns how long until something is due.
func (a *asker) nextDue(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := askPauseMax
	for _, x := range a.all {
		if !x.busy {
			next = min(next, x.due.Sub(now))
		}
	}
	return max(next, 0)
}

// make asks once and settles when to ask again.
func (a *asker) make(ctx context.Context, x *asked) {
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	err := x.call(bounded)
	cancel()
	a.mu.Lock()
	x.busy = false
	x.times++
	first := x.times == 1
	pause := min(askPause<<min(x.times-1, 10), askPauseMax)
	x.due = time.Now().Add(pause/2 + rand.N(pause))
	if x.once && final(err) {
		delete(a.all, x.key)
	}
	a.mu.Unlock()
	a.notify()
	if err != nil && first && ctx.Err() == nil {
		a.log.Warn("asked the patcher in vain, asking again", "about", x.key, "err", err)
	}
}

// final reports whether asking the same once more is of no use.
func final(err error) bool {
	switch fleet.CodeOf(err) {
	case fleet.CodeUnavailable, fleet.CodeBusy, fleet.CodeGone, fleet.CodeInternal:
		return false
	default:
		return true
	}
}
