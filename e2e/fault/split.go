package fault

import (
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Split makes two replicas of a service lead at once: what the holder sends is held back, and its lease is
// removed by hand, so that another takes it while the holder still counts on its own. Healed, what was
// held back is delivered, late.
type Split struct{ Holder *lab.Instance }

// Name implements [Fault].
func (Split) Name() string { return "split" }

// Target implements [Fault].
func (f Split) Target() string { return names([]*lab.Instance{f.Holder}) }

// Inject implements [Fault].
func (f Split) Inject(s *lab.Stack) {
	s.T().Helper()
	f.Holder.NATS.Hold()
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
