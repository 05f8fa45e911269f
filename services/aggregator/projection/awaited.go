package projection

import (
	"time"

	"harmony.dev/fleet"
)

// await takes note that a report which the server stamped then waits to be shown by a status.
func (d *deployment) await(at stamp) {
	if at != 0 && (d.awaited == 0 || at < d.awaited) {
		d.awaited = at
	}
}

// TakeAwaited returns the server's stamp of the oldest report that may change the status of a Deployment and came
// since the last call, zero when there is none, and forgets it.
func (s *State) TakeAwaited(name fleet.DeploymentName) time.Time {
	d := s.deployments[name]
	if d == nil {
		return time.Time{}
	}
	at := d.awaited
	d.awaited = 0
	return at.time()
}

// Await puts what TakeAwaited returned back: no status shows it yet.
func (s *State) Await(name fleet.DeploymentName, at time.Time) {
	if d := s.deployments[name]; d != nil {
		d.await(stampOf(at))
	}
}

// AwaitNothing forgets all that waits: what was read from the beginning is older than this view, and what another instance
// may have shown is none of this one's.
func (s *State) AwaitNothing() {
	for _, d := range s.deployments {
		d.awaited = 0
	}
}
