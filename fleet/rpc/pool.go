package rpc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// pool runs tasks on at most a fixed number of goroutines at a time and lets a fixed number wait. No
// key has more than its share of tasks in it.
type pool struct {
	places  chan struct{} // running or waiting
	workers chan struct{} // running
	taken   atomic.Uint64 // tasks ever taken
	share   int           // of one key, running or waiting; 0 means no limit

	mu   sync.Mutex
	keys map[string]int // tasks running or waiting, while there is a share
}

func newPool(workers, queue, share int) *pool {
	return &pool{
		places:  make(chan struct{}, workers+queue),
		workers: make(chan struct{}, workers),
		share:   share,
		keys:    map[string]int{},
	}
}

// submit runs task soon, or returns false when no place is left, or none for its key. It never blocks.
func (p *pool) submit(key string, task func()) bool {
	if !p.enter(key) {
		return false
	}
	p.taken.Add(1)
	go func() {
		defer p.leave(key)
		p.workers <- struct{}{}
		defer func() { <-p.workers }()
		task()
	}()
	return true
}

func (p *pool) enter(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.share > 0 && p.keys[key] >= p.share {
		return false
	}
	select {
	case p.places <- struct{}{}:
	default:
		return false
	}
	if p.share > 0 {
		p.keys[key]++
	}
	return true
}

func (p *pool) leave(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys[key]--; p.keys[key] <= 0 {
		delete(p.keys, key)
	}
	<-p.places
}

// settle waits until no task is left and none came for a moment, or ctx is done. It returns the number
// of tasks left. A message that the client library has received but not yet dispatched is visible
// nowhere: the moment is for those.
func (p *pool) settle(ctx context.Context) int {
	const poll, moment = 5 * time.Millisecond, 4
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for quiet, taken := 0, p.taken.Load(); quiet < moment; {
		select {
		case <-ctx.Done():
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
