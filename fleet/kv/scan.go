package kv

import (
	"context"
	"fmt"
)

// Scan reads the bucket once, as it is: whatever its configuration, every subject, also those that are no legal
// keys. Each gets the last message of every subject, markers too, in stream order and from the caller's
// goroutine; a key that is written meanwhile may come twice, and the later message counts. It returns nil when
// all that the bucket held was read, else why not. It ends with ctx.
func (b *Bucket) Scan(ctx context.Context, each func(Message)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v := &scan{each: each, whole: cancel}
	r := NewReflector(ReflectorConfig{Bucket: b, View: v})
	p, err := r.open(ctx)
	if err != nil {
		return fmt.Errorf("scan bucket %s: %w", b.name, err)
	}
	defer r.dispose(ctx, p.consumer)
	r.begin(p)
	go p.guard.run(ctx)
	if err := p.run(ctx, nil, nil); !v.done {
		return fmt.Errorf("scan bucket %s: %w", b.name, err)
	}
	return nil
}

// scan is a View that needs to be in step once only.
type scan struct {
	each  func(Message)
	whole func()
	done  bool
}

// Begin implements View.
func (s *scan) Begin(Pass) {}

// Apply implements View.
func (s *scan) Apply(m Message) {
	if !s.done {
		s.each(m)
	}
}

// Synced implements View.
func (s *scan) Synced(Pass) {
	s.done = true
	s.whole()
}

// Lost implements View.
func (s *scan) Lost(error) {}
