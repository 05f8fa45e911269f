package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest/proxy"
)

// Fault:   two replicas of each service, on one NATS node and on three: a split in which both lead, what the deposed one
// sent being delivered late.
// Promise: the late writes of a deposed holder are refused, by the server or, for requests, by the patcher, and change
// nothing; the deposed one stands by. Per key no delete is followed by a put, and no equal value is written again; epochs
// never decrease along a stream.
// Budget:  correct within 20 s, and standing by within 20 s of the late delivery.
// Found:   -
func TestR07_TwoLead(t *testing.T) {
	replicatedOn(t, []replicatedCase{
		{"two patchers lead", (*replicated).twoPatchers},
		{"two reconcilers lead", (*replicated).twoReconcilers},
		{"two aggregators lead", (*replicated).twoAggregators},
	})
}

// The late write is the mirror entry of the Deployment.
func (r *replicated) twoPatchers(t *testing.T) {
	r.split(t, fleet.ServicePatcher, fleet.KeySubject(fleet.BucketResources, "deployment.two-patchers"), proxy.WrongSequence)
}

// The late write is a batch that puts keys which are deleted by then. Its last message is answered.
func (r *replicated) twoReconcilers(t *testing.T) {
	r.split(t, fleet.ServiceReconciler, fleet.KeySubject(fleet.BucketDesiredState, "_applied.two-reconcilers"), proxy.WrongSequence)
}

// The late write is the request to write a status that is outdated by then.
func (r *replicated) twoAggregators(t *testing.T) {
	r.split(t, fleet.ServiceAggregator, fleet.StatusApply.Subject, proxy.StaleEpoch)
}

// split has two replicas of a service lead at once, and the first one's write come late.
func (r *replicated) split(t *testing.T, service, subject, refusal string) {
	name := "two-" + strings.TrimPrefix(service, "fleet-") + "s"
	r.API.Apply(deployment(name, region("north")))
	settled(t, r.Stack, name, counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
	first := r.Holder(service)
	second := r.replicas[service][0]
	if second == first {
		second = r.replicas[service][1]
	}
	said := first.NATS.Listen()

	split := fault.Split{Holder: first, Said: said, Subject: subject, Provoke: func() {
		r.API.Apply(deployment(name, region("north", "east"))) // both want the same
	}}
	fault.Inject(r.Stack, split)
	since := time.Now()
	r.Eventually(10*time.Second, "both to lead", func(ctx context.Context) error {
		a, err := first.Probe(ctx)
		if err != nil {
			return err
		}
		b, err := second.Probe(ctx)
		if err == nil && (!leads(a) || !leads(b)) {
			err = fmt.Errorf("%s: %+v, %s: %+v", first.ID(), a.Lease, second.ID(), b.Lease)
		}
		return err
	})
	settled(t, r.Stack, name, counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	r.Measured("correct after a split of "+service, time.Since(since), 20*time.Second)
	r.API.Apply(deployment(name, region("south"))) // what the first wants is wrong by now
	settled(t, r.Stack, name, counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
	before := r.AtRest()
	r.Steady(func() {
		healed := time.Now()
		fault.Heal(r.Stack, split)
		r.Eventually(10*time.Second, "the late write to be refused", func(context.Context) error {
			if !said.Answered(subject, refusal) {
				return fmt.Errorf("no refusal of what %s sent on %s", first.ID(), subject)
			}
			return nil
		})
		if refusal == proxy.WrongSequence {
			r.Refused(first.ID() + " on " + subject)
		}
		r.standsBy(first)
		r.Measured("standby after a split of "+service, time.Since(healed), 20*time.Second)
		if d := lab.Difference(before, r.AtRest()); len(d) > 0 {
			t.Errorf("the late write changed something: %q", d)
		}
	})
}
