package fault

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"harmony.dev/e2e/lab"
)

// Stall lets nothing more through to processes once each has got some entries of its buckets, so that they
// stay in the middle of reading them, whether they connect again or not. It is injected while they are
// down, or at once with no entries; healed, everything passes. What they send passes.
type Stall struct {
	instances []*lab.Instance
	entries   int
	healed    chan struct{}
	heal      func()

	mu      sync.Mutex
	got     map[*lab.Instance]int
	stalled map[*lab.Instance]bool
}

// NewStall returns the fault that stops each process before it gets so many entries.
func NewStall(entries int, instances ...*lab.Instance) *Stall {
	f := &Stall{
		instances: instances, entries: entries, healed: make(chan struct{}),
		got: map[*lab.Instance]int{}, stalled: map[*lab.Instance]bool{},
	}
	f.heal = sync.OnceFunc(func() { close(f.healed) })
	return f
}

// Name implements [Fault].
func (*Stall) Name() string { return "stall" }

// Target implements [Fault].
func (f *Stall) Target() string { return names(f.instances) }

// Needs implements [Fault].
func (*Stall) Needs() []lab.Ability { return []lab.Ability{lab.Proxies} }

// Inject implements [Fault].
func (f *Stall) Inject(s *lab.Stack) {
	s.T().Cleanup(f.heal)
	for _, i := range f.instances {
		i.NATS.Watch(nil, func(b []byte) { f.pass(i, b) })
	}
}

// Heal implements [Fault].
func (f *Stall) Heal(*lab.Stack) { f.heal() }

// Await waits until every process is stalled.
func (f *Stall) Await(s *lab.Stack) {
	s.T().Helper()
	s.Eventually(30*time.Second, "all stalled while they read", func(context.Context) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.stalled) < len(f.instances) {
			return fmt.Errorf("%d of %d are", len(f.stalled), len(f.instances))
		}
		return nil
	})
}

// pass returns when these bytes may be delivered.
func (f *Stall) pass(i *lab.Instance, b []byte) {
	f.mu.Lock()
	f.got[i] += bytes.Count(b, []byte("MSG $KV."))
	stalled := f.got[i] >= f.entries
	if stalled {
		f.stalled[i] = true
	}
	f.mu.Unlock()
	if stalled {
		<-f.healed
	}
}
