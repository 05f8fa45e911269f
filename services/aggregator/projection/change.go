package projection

import (
	"iter"

	"harmony.dev/fleet"
)

// ChangesOf yields when each desired value of a Deployment was written and when each report on one came, by the
// server's stamps, in no order.
func (s *State) ChangesOf(name fleet.DeploymentName) iter.Seq[fleet.Change] {
	return func(yield func(fleet.Change) bool) {
		d := s.deployments[name]
		if d == nil {
			return
		}
		for _, p := range d.pairs {
			if p.wish != nil && (!p.yieldWritten(yield) || !p.yieldReported(yield)) {
				return
			}
		}
	}
}

func (p *pair) yieldWritten(yield func(fleet.Change) bool) bool {
	if p.wishAt == 0 {
		return true
	}
	return yield(fleet.Change{At: p.wishAt.time(), Kind: fleet.ChangeDesired, Device: p.device.id})
}

func (p *pair) yieldReported(yield func(fleet.Change) bool) bool {
	if !p.reportAt.heard() {
		return true
	}
	c := fleet.Change{At: p.reportAt.at.time(), Kind: fleet.ChangeReported, Device: p.device.id}
	if !p.report.spoiled {
		c.Phase = p.report.phase()
	}
	return yield(c)
}
