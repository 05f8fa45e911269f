package kv

import (
	"context"
	"sync"
	"time"

	"harmony.dev/fleet"
)

// progress is what others may see of a reflector, and wait for.
type progress struct {
	name string

	mu       sync.Mutex
	pass     Pass
	running  bool // a pass is on
	synced   bool
	position uint64    // everything up to this sequence is applied
	stamp    time.Time // the server's stamp on the last message applied
	done     uint64
	total    uint64
	entries  int
	reason   string
	problem  string        // why no pass is on
	changed  chan struct{} // closed at the next change, nil while nobody waits
}

// update changes the progress and wakes those who wait.
func (p *progress) update(f func(*progress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// wait calls f until it returns true, first at once and then after each change.
func (p *progress) wait(ctx context.Context, f func(*progress) (bool, error)) error {
	for {
		p.mu.Lock()
		ok, err := f(p)
		if ok || err != nil {
			p.mu.Unlock()
			return err
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// reached returns up to where everything is applied, and the stamp on the last message.
func (p *progress) reached() (uint64, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.position, p.stamp
}

// waitSeq is [Reflector.WaitSeq].
func (p *progress) waitSeq(ctx context.Context, seq uint64) error {
	var number uint64 // of the pass that is waited for
	return p.wait(ctx, func(p *progress) (bool, error) {
		switch {
		case number == 0 && p.running:
			number = p.pass.Number
		case number != 0 && (!p.running || p.pass.Number != number):
			return false, ErrPassEnded
		}
		return p.running && p.synced && p.position >= seq, nil
	})
}

func (p *progress) source() fleet.Source {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fleet.Source{
		Name: p.name, Synced: p.synced, Pass: p.pass.Number, Done: p.done, Total: max(p.total, p.done),
		Entries: p.entries, Seq: p.position, Reason: p.reason, Problem: p.problem,
	}
}
