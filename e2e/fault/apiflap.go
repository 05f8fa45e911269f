package fault

import (
	"sync"
	"time"

	"harmony.dev/e2e/lab"
)

// APIFlap takes the apiserver away from a patcher and gives it back, in turn, each for so long; healed, it is
// there for good. Make one with [NewAPIFlap].
type APIFlap struct {
	patcher *lab.Instance
	each    time.Duration
	healed  chan struct{}
	done    sync.WaitGroup
}

// NewAPIFlap returns one fault: it can be injected once.
func NewAPIFlap(patcher *lab.Instance, each time.Duration) *APIFlap {
	return &APIFlap{patcher: patcher, each: each, healed: make(chan struct{})}
}

// Name implements [Fault].
func (*APIFlap) Name() string { return "apiserver-flap" }

// Target implements [Fault].
func (f *APIFlap) Target() string { return f.patcher.ID() }

// Needs implements [Fault].
func (*APIFlap) Needs() []lab.Ability { return []lab.Ability{lab.Cuts} }

// Inject implements [Fault].
func (f *APIFlap) Inject(*lab.Stack) {
	f.done.Go(func() {
		tick := time.NewTicker(f.each)
		defer tick.Stop()
		for down := true; ; down = !down {
			if down {
				f.patcher.RefuseAPI()
			} else {
				f.patcher.AcceptAPI()
			}
			select {
			case <-f.healed:
				if down {
					f.patcher.AcceptAPI()
				}
				return
			case <-tick.C:
			}
		}
	})
}

// Heal implements [Fault].
func (f *APIFlap) Heal(*lab.Stack) {
	close(f.healed)
	f.done.Wait()
}
