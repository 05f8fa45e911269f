package rpc

import (
	"sync/atomic"
	"time"
)

// pool runs tasks on at most a fixed number of goroutines at a time and lets a fixed number wait.
type pool struct {
	places  chan struct{} // running or waiting
	workers chan struct{} // running
	taken   atomic.Uint64 // tasks ever taken
}

func newPool(workers, queue int) *pool {
	return &pool{
		places:  make(chan struct{}, workers+queue),
		workers: make(chan struct{}, workers),
	}
}

// submit runs task soon, or returns false when no place is left. It never blocks.
func (p *pool) submit(task func()) bool {
	select {
	case p.places <- struct{}{}:
	default:
		return false
	}
	p.taken.Add(1)
	go func() {
		defer func() { <-p.places }()
		p.workers <- struct{}{}
		defer func() { <-p.workers }()
		task()
	}()
	return true
}

// settle waits until no task is left and none came for a moment, at most for the limit. It returns
// the number of tasks left. A message that the client library has received but not yet dispatched
// is visible nowhere: the moment is for those.
func (p *pool) settle(limit time.Duration) int {
	const poll, moment = 5 * time.Millisecond, 4
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for quiet, taken := 0, p.taken.Load(); quiet < moment; {
		select {
		case <-deadline.C:
			return len(p.places)
		case <-tick.C:
		}
		if now := p.taken.Load(); len(p.places) > 0 || now != taken {
			quiet, taken = 0, now
			continue
		}
		quiet++
	}
	return 0
}
