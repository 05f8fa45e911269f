package fault

import (
	"context"
	"errors"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest/proxy"
)

// Split makes two replicas of a service lead at once. As soon as the holder sends something on a subject,
// that and all that it sends from then on is held back; its lease is removed by hand, so that another takes
// it while the holder still counts on its own. Healed, what was held back is delivered, late.
type Split struct {
	Holder  *lab.Instance
	Said    *proxy.Conversation // of the holder
	Subject string
	Provoke func() // makes the holder send it
}

// Name implements [Fault].
func (Split) Name() string { return "split" }

// Target implements [Fault].
func (f Split) Target() string { return names([]*lab.Instance{f.Holder}) }

// Needs implements [Fault].
func (Split) Needs() []lab.Ability { return []lab.Ability{lab.Proxies} }

// Inject implements [Fault].
func (f Split) Inject(s *lab.Stack) {
	s.T().Helper()
	held := make(chan struct{})
	f.Said.OnSent(f.Subject, func() {
		f.Holder.NATS.Hold()
		close(held)
	})
	f.Provoke()
	s.Eventually(10*time.Second, f.Holder.ID()+" to send on "+f.Subject, func(ctx context.Context) error {
		select {
		case <-held:
			return nil
		default:
			return errors.New("nothing came")
		}
	})
	bucket := fleet.LeaseBucket(f.Holder.Service())
	store, err := s.NATS.JetStream().KeyValue(s.T().Context(), bucket)
	if err == nil {
		err = store.Delete(s.T().Context(), fleet.KeyLease)
	}
	if err != nil {
		s.T().Fatalf("remove the lease of %s: %v", bucket, err)
	}
}

// Heal implements [Fault].
func (f Split) Heal(*lab.Stack) { f.Holder.NATS.Release() }
