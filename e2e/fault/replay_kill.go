package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"harmony.dev/e2e/lab"
)

// ReplayKill starts a process and ends the NATS servers with SIGKILL while it reads a bucket. Healed, they
// are started again.
type ReplayKill struct {
	Instance *lab.Instance // that does not run
	Bucket   string
	After    int // messages
}

// Name implements [Fault].
func (ReplayKill) Name() string { return "replay-kill" }

// Target implements [Fault].
func (f ReplayKill) Target() string {
	return fmt.Sprintf("NATS, while %s reads %s, after %d messages", f.Instance.ID(), f.Bucket, f.After)
}

// Needs implements [Fault].
func (ReplayKill) Needs() []lab.Ability { return []lab.Ability{lab.Proxies, lab.Store} }

// Inject implements [Fault].
func (f ReplayKill) Inject(s *lab.Stack) {
	s.T().Helper()
	reached, killed := make(chan struct{}), make(chan struct{})
	defer close(killed)
	onMessage(f.Instance, f.Bucket, f.After, func() {
		close(reached)
		<-killed
	})
	f.Instance.Start()
	s.Eventually(60*time.Second, fmt.Sprintf("%d messages of %s", f.After, f.Bucket), func(context.Context) error {
		select {
		case <-reached:
			return nil
		default:
			return errors.New("they did not come")
		}
	})
	s.NATS.Kill()
}

// Heal implements [Fault].
func (f ReplayKill) Heal(s *lab.Stack) {
	s.T().Helper()
	f.Instance.NATS.Watch(nil, nil)
	s.NATS.Start()
}
