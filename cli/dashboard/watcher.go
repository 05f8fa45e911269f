package dashboard

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

const (
	// lookFor is how long after somebody looked Deployments and devices are asked for. Health is always.
	lookFor = 10 * time.Second
	// answerWithin is how long an answer about Deployments or devices may take. Who is silent is told by the health, sooner.
	answerWithin = 2500 * time.Millisecond
	// restFactor is how many times longer than the answer took nobody asks again: a question for 10,000 devices has its price.
	restFactor  = 4
	longestRest = 4 * time.Second
)

// rest is the pause after a question that took so long.
func rest(every, took time.Duration) time.Duration {
	return max(every-took, min(restFactor*took, longestRest))
}

// watcher keeps a picture up to date.
type watcher struct {
	nc    *nats.Conn
	every time.Duration

	mu      sync.Mutex
	now     picture.Picture
	link    picture.Link
	looked  time.Time
	woken   time.Time            // since when somebody looks
	asked   map[string]time.Time // when a question was last answered, or was not in time
	changed chan struct{}        // closed, and made anew, with each change of now
	revived chan struct{}        // closed, and made anew, when somebody answers again who did not
}

func newWatcher(nc *nats.Conn, every time.Duration) *watcher {
	now := time.Now()
	return &watcher{nc: nc, every: every, looked: now, woken: now, asked: map[string]time.Time{}, changed: make(chan struct{}), revived: make(chan struct{})}
}

// The questions.
const (
	aboutHealth      = "health"
	aboutDeployments = "deployments"
	aboutDevices     = "devices"
)

// run asks until ctx is done.
func (w *watcher) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { w.loop(ctx, aboutHealth, w.health) })
	wg.Go(func() {
		w.loop(ctx, aboutDeployments, func(ctx context.Context) picture.Round {
			a := allDeployments(ctx, w.nc)
			return picture.Round{Deployments: &a}
		})
	})
	wg.Go(func() {
		w.loop(ctx, aboutDevices, func(ctx context.Context) picture.Round {
			a := allDevices(ctx, w.nc)
			return picture.Round{Devices: &a}
		})
	})
	wg.Wait()
}

// loop asks one question again and again.
func (w *watcher) loop(ctx context.Context, what string, ask func(context.Context) picture.Round) {
	for ctx.Err() == nil {
		began := time.Now()
		var revived <-chan struct{} // of no interest to the one who notices
		if what != aboutHealth {
			revived = w.revival()
		}
		var r picture.Round
		if w.due(what) && w.nc.IsConnected() {
			r = askUntil(ctx, revived, ask)
		}
		took := time.Since(began)
		w.take(what, r)
		pause := w.every - took
		if what != aboutHealth {
			pause = rest(w.every, took)
		}
		select {
		case <-ctx.Done():
		case <-revived:
		case <-time.After(pause):
		}
	}
}

// askUntil asks once, and gives up when somebody is revived: what was asked of the dead is never answered.
func askUntil(ctx context.Context, revived <-chan struct{}, ask func(context.Context) picture.Round) picture.Round {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	go func() {
		select {
		case <-revived:
			cancel()
		case <-ctx.Done():
		}
	}()
	r := ask(ctx)
	select {
	case <-revived:
		return picture.Round{}
	default:
		return r
	}
}

// revival returns what is closed when somebody answers again who did not.
func (w *watcher) revival() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revived
}

// due reports whether a question is to be asked.
func (w *watcher) due(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return what == aboutHealth || time.Since(w.looked) < lookFor
}

// health asks all replicas of all services at once.
func (w *watcher) health(ctx context.Context) picture.Round {
	r := picture.Round{Health: map[string]picture.Answer[[]fleet.Health]{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, name := range fleet.Services() {
		wg.Go(func() {
			hs, err := rpc.CallEvery[struct{}, fleet.Health](ctx, w.nc, fleet.HealthEndpoint(name), struct{}{}, w.every)
			mu.Lock()
			defer mu.Unlock()
			r.Health[name] = picture.Answer[[]fleet.Health]{Value: hs, Err: err}
		})
	}
	wg.Wait()
	return r
}

// take folds a round into the picture.
func (w *watcher) take(what string, r picture.Round) {
	now, connected := time.Now(), w.nc.IsConnected()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.link.Since.IsZero() || w.link.Connected != connected {
		w.link.Connected, w.link.Since = connected, now
	}
	if connected {
		w.link.Server = w.nc.ConnectedUrlRedacted()
	}
	r.Link = w.link
	was := w.now
	w.now = picture.Fold(w.now, r, now)
	if picture.Revived(was, w.now) {
		close(w.revived)
		w.revived = make(chan struct{})
	}
	w.asked[what] = now
	close(w.changed)
	w.changed = make(chan struct{})
}

// look returns the picture, and keeps everything in it up to date for a while. When nobody has looked for long it waits
// until everything was asked for again.
func (w *watcher) look(ctx context.Context) picture.Picture {
	ctx, cancel := context.WithTimeout(ctx, 2*w.every)
	defer cancel()
	for {
		p, whole, changed := w.glance(time.Now())
		if whole {
			return p
		}
		select {
		case <-ctx.Done():
			return p // what there is has to do
		case <-changed:
		}
	}
}

// glance returns the picture, and whether everything in it was asked for since somebody looks.
func (w *watcher) glance(now time.Time) (p picture.Picture, whole bool, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.looked) >= lookFor {
		w.woken = now
	}
	w.looked = now
	whole = true
	for _, what := range []string{aboutHealth, aboutDeployments, aboutDevices} {
		whole = whole && w.asked[what].After(w.woken)
	}
	return w.now, whole || !w.link.Since.IsZero() && !w.link.Connected, w.changed
}
