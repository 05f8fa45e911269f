package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet/panics"
	"harmony.dev/fleet/rpc"
)

// Times of a run group.
const (
	beatInterval = time.Second
	stopLimit    = 20 * time.Second // for goroutines to hand back what they hold after a signal
	failLimit    = 3 * time.Second  // … after a bug: the process has 5 s in all
)

// group runs the long-lived goroutines of a process: its members. One goroutine, in run, owns all of
// its state.
type group struct {
	log     *slog.Logger
	faults  *faults         // nil but in tests
	beat    func(time.Time) // called every second: the process's own loop is alive
	failing func(error)     // called once, before the members are told to end

	add      chan member
	outcomes chan outcome
	ended    chan struct{}
}

type member struct {
	name string
	run  func(ctx context.Context) error
}

// outcome is how a member ended, or that a goroutine which it started panicked.
type outcome struct {
	name     string
	child    bool // no member
	err      error
	panicked bool
	stack    string
}

func newGroup(log *slog.Logger, faults *faults, beat func(time.Time), failing func(error)) *group {
	return &group{
		log: log, faults: faults, beat: beat, failing: failing,
		add: make(chan member), outcomes: make(chan outcome), ended: make(chan struct{}),
	}
}

// start adds a member. After the group has ended it does nothing.
func (g *group) start(name string, run func(ctx context.Context) error) {
	select {
	case g.add <- member{name, run}:
	case <-g.ended:
	}
}

// run runs the members until ctx is done and they have returned. A member that panics, or returns
// before that, ends the others too and is the error. So is a member that does not return in time.
func (g *group) run(ctx context.Context) error {
	defer close(g.ended)
	ctx, cancel := context.WithCancel(panics.With(ctx, g))
	defer cancel()
	beat := time.NewTicker(beatInterval)
	defer beat.Stop()
	var (
		running  = map[string]int{}
		stopping = false
		stop     = ctx.Done()
		limit    <-chan time.Time
		failure  error
	)
	for !stopping || len(running) > 0 {
		select {
		case m := <-g.add:
			running[m.name]++
			go g.member(ctx, m)
		case o := <-g.outcomes:
			if !o.child {
				if running[o.name]--; running[o.name] == 0 {
					delete(running, o.name)
				}
			}
			if err := o.failure(ctx.Err() != nil); err != nil && failure == nil {
				failure = err
				g.log.Error("goroutine failed", "goroutine", o.name, "err", o.err, "stack", o.stack)
				g.failing(failure)
				cancel()
				stopping, stop, limit = true, nil, time.After(failLimit)
			} else if o.err != nil && !errors.Is(o.err, context.Canceled) {
				g.log.Warn("goroutine ended with an error", "goroutine", o.name, "err", o.err)
			}
		case <-stop:
			stopping, stop, limit = true, nil, time.After(stopLimit)
		case <-limit:
			names := slices.Sorted(maps.Keys(running))
			return errors.Join(failure, fmt.Errorf("still running after being told to end: %s", strings.Join(names, ", ")))
		case now := <-beat.C:
			g.beat(now)
		}
	}
	return failure
}

// failure returns why the process cannot go on, or nil: a panic at any time, a return before the end.
func (o outcome) failure(stopping bool) error {
	switch {
	case o.panicked:
		return fmt.Errorf("goroutine %s: %w", o.name, o.err)
	case stopping:
		return nil
	case o.err != nil:
		return fmt.Errorf("goroutine %s ended: %w", o.name, o.err)
	}
	return fmt.Errorf("goroutine %s ended", o.name)
}

func (g *group) member(ctx context.Context, m member) { g.tell(g.faults.guard(ctx, m)) }

// Guard implements [panics.Guardian] for the goroutines that members start.
func (g *group) Guard(ctx context.Context, name string, f func(context.Context) error) error {
	o := g.faults.guard(ctx, member{name, f})
	if o.child = true; o.panicked {
		g.tell(o)
	}
	return o.err
}

func (g *group) tell(o outcome) {
	select {
	case g.outcomes <- o:
	case <-g.ended:
	}
}

func guarded(ctx context.Context, m member) (o outcome) {
	o.name = m.name
	defer func() {
		if v := recover(); v != nil {
			o.err, o.panicked, o.stack = fmt.Errorf("panic: %v", v), true, string(debug.Stack())
		}
	}()
	o.err = m.run(ctx)
	if p, ok := errors.AsType[*rpc.PanicError](o.err); ok {
		o.panicked, o.stack = true, string(p.Stack)
	}
	return o
}
