package scenarios

import (
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// TestR07_Unplugged is scenario 7 with holders that hear and say nothing any more, and go on.
//
// Fault:   the lease holder of each service loses its network, one after the other, while Deployments change; later it
// is on it again.
// Promise: another replica takes over; the one that comes back stands by, and writes nothing. Per key no delete is
// followed by a put, and no equal value is written again.
// Budget:  takeover within the lease and 1 s; correct within 20 s.
// Found:   -
func TestR07_Unplugged(t *testing.T) {
	t.Parallel()
	r := newReplicated(t, 1)
	from := len(r.Recorded())
	for _, k := range r.rng.Perm(len(fleet.Services())) {
		holder := r.Holder(fleet.Services()[k])
		since := time.Now()
		fault.Inject(r.Stack, fault.Unplug{holder})
		unplugged := time.Now() // containers take their time
		name := "without-" + holder.ID()
		r.API.Apply(deployment(name, region("south")))
		r.Measured("takeover from an unplugged "+holder.Service(), r.takeover(holder, since)-unplugged.Sub(since), lab.LeaseTTL+time.Second)
		settled(t, r.Stack, name, counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
		r.Measured("correct after "+holder.Service()+" was unplugged", time.Since(since), 20*time.Second)
		fault.Heal(r.Stack, fault.Unplug{holder})
		r.standsBy(holder)
		r.WaitReady(6)
	}
	r.AtRest()
	r.judge(t, r.Recorded()[from:])
}
