package scenarios

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/record"
	"harmony.dev/fleet"
)

// Fault:   two replicas of each service, on one NATS node and on three: replaced as a rolling update with
// surge does; the holders killed (SIGKILL); the holders paused past their leases (SIGSTOP, SIGCONT).
// Promise: a new replica becomes ready beside the old ones. Per key no delete is followed by a put, and no
// equal value is written again; epochs never decrease along a stream; a deposed holder stands by.
// Budget:  takeover within the lease and 1 s after SIGKILL, within 1 s after SIGTERM; correct within 20 s.
// Found:   an aggregator that went on after a pause asked every agent to send everything again, although
// another held the lease.
func TestR07_TwoOfEach(t *testing.T) {
	replicatedOn(t, []replicatedCase{
		{"rolling update", (*replicated).rollingUpdate},
		{"rolling update while Deployments change", (*replicated).rollingUpdateUnderChange},
		{"holders killed", (*replicated).holdersKilled},
		{"holders paused", (*replicated).holdersPaused},
	})
}

// replicatedCase is what befalls two replicas of each service.
type replicatedCase struct {
	name string
	run  func(*replicated, *testing.T)
}

// replicatedOn runs cases one after the other, on one NATS node and on three.
func replicatedOn(t *testing.T, cases []replicatedCase) {
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprintf("R%d", nodes), func(t *testing.T) {
			t.Parallel()
			r := newReplicated(t, nodes)
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					from := len(r.Recorded())
					c.run(r, t)
					r.WaitReady(6) // also the health before the next fault
					r.judge(t, r.Recorded()[from:])
				})
			}
		})
	}
}

// replicated is a stack with two replicas of each service.
type replicated struct {
	*lab.Stack
	rng      *rand.Rand
	replicas map[string][]*lab.Instance
}

// newReplicated starts two replicas of each service, and devices of which four run web.
func newReplicated(t *testing.T, nodes int) *replicated {
	t.Helper()
	seed := lab.Seed(t)
	r := &replicated{Stack: lab.New(t, lab.Options{Nodes: nodes}), rng: rand.New(rand.NewPCG(seed, 7)), replicas: map[string][]*lab.Instance{}}
	for range 2 {
		for _, service := range fleet.Services() {
			r.start(service)
		}
	}
	r.WaitReady(6)
	r.StartDevices(8)
	registered(t, r.Stack, 8)
	r.API.Apply(deployment("web", region("north", "east")))
	settled(t, r.Stack, "web", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	return r
}

func (r *replicated) start(service string) {
	r.replicas[service] = append(r.replicas[service], r.Start(service))
}

func leads(h fleet.Health) bool { return h.Lease != nil && h.Lease.Held && h.Lease.Epoch > 0 }

// holders are the replicas that lead, one of each service.
func (r *replicated) holders() []*lab.Instance {
	var all []*lab.Instance
	for _, service := range fleet.Services() {
		all = append(all, r.Holder(service))
	}
	return all
}

// takeover waits until another replica has taken the epoch, and returns how long that took.
func (r *replicated) takeover(from *lab.Instance, since time.Time) (took time.Duration) {
	r.T().Helper()
	bucket := fleet.LeaseBucket(from.Service())
	r.Eventually(20*time.Second, "another replica of "+from.Service()+" to take over", func(context.Context) error {
		for _, e := range r.Recorded() {
			if e.Op == nil || e.At.Before(since) || e.Op.Bucket != bucket || e.Op.Key != fleet.KeyEpoch {
				continue
			}
			if epoch, err := fleet.DecodeEpoch([]byte(e.Op.Value)); err == nil && epoch.Instance != from.ID() {
				took = e.At.Sub(since)
				return nil
			}
		}
		return fmt.Errorf("no new epoch in %s", bucket)
	})
	return took
}

// killed is when a process was sent SIGKILL last: one after the other, which takes containers their time.
func (r *replicated) killed(i *lab.Instance) (at time.Time) {
	for _, e := range r.Recorded() {
		if p := e.Process; p != nil && p.Kind == record.ProcessKilled && p.Instance == i.ID() {
			at = e.At
		}
	}
	return at
}

// standsBy waits until a replica is ready and does not lead.
func (r *replicated) standsBy(i *lab.Instance) {
	r.T().Helper()
	r.Eventually(20*time.Second, i.ID()+" to stand by", func(ctx context.Context) error {
		h, err := i.Probe(ctx)
		if err == nil && (!h.Ready || h.Lease == nil || h.Lease.Held) {
			err = fmt.Errorf("it is %s, lease %+v, because of %v", h.State, h.Lease, h.Reasons)
		}
		return err
	})
}

// judge checks what the services wrote into their buckets.
func (r *replicated) judge(t *testing.T, recording record.Recording) {
	t.Helper()
	type last struct {
		kind  record.OpKind
		value string
	}
	epochs, keys := map[string]uint64{}, map[string]last{}
	for _, e := range recording {
		if e.Op == nil || e.Op.Epoch == 0 {
			continue
		}
		op, key := e.Op, e.Op.Bucket+"/"+e.Op.Key
		if op.Epoch < epochs[op.Bucket] {
			t.Errorf("%s was written under epoch %d after %d", key, op.Epoch, epochs[op.Bucket])
		}
		epochs[op.Bucket] = op.Epoch
		if fleet.IsReserved(op.Key) {
			continue
		}
		before, known := keys[key]
		switch {
		case known && before.kind == record.OpDelete && op.Kind == record.OpPut:
			t.Errorf("%s was deleted and put back", key)
		case known && before == last{op.Kind, op.Value}:
			t.Errorf("%s was written again with the same value: %s %s", key, op.Kind, op.Value)
		}
		keys[key] = last{op.Kind, op.Value}
	}
}

// surge starts another replica of each service beside those that run.
func (r *replicated) surge() {
	for _, service := range fleet.Services() {
		r.start(service)
	}
	r.WaitReady(9)
}

// retire ends the older replica of each service, in any order, and measures who takes over from holders.
func (r *replicated) retire(before func(step int)) {
	for step, k := range r.rng.Perm(len(fleet.Services())) {
		service := fleet.Services()[k]
		holder := r.Holder(service)
		k := slices.Index(r.replicas[service][:2], holder)
		if k < 0 {
			r.T().Fatalf("%s holds the lease while those before it are alive", holder.ID())
		}
		r.replicas[service] = slices.Delete(r.replicas[service], k, k+1)
		before(step)
		since := time.Now()
		holder.Stop()
		r.Measured("takeover after SIGTERM of "+service, r.takeover(holder, since), time.Second)
	}
}

func (r *replicated) rollingUpdate(t *testing.T) {
	before := r.AtRest()
	r.Steady(func() {
		r.surge()
		r.retire(func(int) {})
		r.WaitReady(6)
		if d := lab.Difference(before, r.AtRest()); len(d) > 0 {
			t.Errorf("the rolling update changed something: %q", d)
		}
	})
}

func (r *replicated) rollingUpdateUnderChange(t *testing.T) {
	all := []string{"north", "east", "south", "west"}
	r.surge()
	var changed time.Time
	r.retire(func(step int) {
		changed = time.Now()
		r.API.Apply(deployment("rolling", region(all[:step+1]...)))
	})
	settled(t, r.Stack, "rolling", counts(6, 6, 0, 0, 0), fleet.ConditionTrue)
	r.Measured("correct after a change in the midst of a rolling update", time.Since(changed), 20*time.Second)
	settled(t, r.Stack, "web", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	r.AtRest()
}

func (r *replicated) holdersKilled(t *testing.T) {
	holders := r.holders()
	since := time.Now()
	fault.Inject(r.Stack, fault.Kill(holders))
	r.API.Apply(deployment("killed", region("south", "west")))
	for _, i := range holders {
		r.Measured("takeover after SIGKILL of "+i.Service(), r.takeover(i, r.killed(i)), lab.LeaseTTL+time.Second)
	}
	settled(t, r.Stack, "killed", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	r.Measured("correct after SIGKILL of all holders", time.Since(since), 20*time.Second)
	fault.Heal(r.Stack, fault.Kill(holders))
	r.WaitReady(6)
	r.AtRest()
}

func (r *replicated) holdersPaused(t *testing.T) {
	holders := r.holders()
	r.API.Apply(deployment("paused", region("north")))
	settled(t, r.Stack, "paused", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
	since := time.Now()
	fault.Inject(r.Stack, fault.Pause(holders))
	r.API.Apply(deployment("paused", region("north", "east")))
	for _, i := range holders {
		r.takeover(i, since)
	}
	settled(t, r.Stack, "paused", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	r.Measured("correct after SIGSTOP of all holders", time.Since(since), 20*time.Second)
	r.API.Apply(deployment("paused", region("east", "south")))
	settled(t, r.Stack, "paused", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	r.WaitReady(3)
	before := r.AtRest()
	r.Steady(func() {
		fault.Heal(r.Stack, fault.Pause(holders))
		for _, i := range holders {
			r.standsBy(i)
		}
		if d := lab.Difference(before, r.AtRest()); len(d) > 0 {
			t.Errorf("the deposed holders changed something: %q", d)
		}
	})
}
