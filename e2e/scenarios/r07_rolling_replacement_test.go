package scenarios

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

const (
	replacementRate  = 500 // reports a second, at most
	replacementLeast = 400 // and at least, in the mean second of the whole run
)

// TestR07_RollingReplacement is scenario 7 as a rollout of a new version does it, under load.
//
// Fault:   each replica of each service, two of each, is replaced by a new one that starts beside them before
// it is stopped (SIGTERM), while 500 reports a second come in.
// Promise: nothing is deleted and put back, no equal value is written again; a Deployment whose reports all
// say the same keeps its status, and the final counts equal the fold of the stream.
// Budget:  a new replica is ready within 20 s; the final counts within 10 s of the last report.
// Found:   -
func TestR07_RollingReplacement(t *testing.T) {
	t.Parallel()
	st := newStorm(t)
	st.storm.Rate = replacementRate
	r := &replicated{Stack: st.Stack, rng: rand.New(rand.NewPCG(st.storm.Seed, 7)), replicas: map[string][]*lab.Instance{}}
	for _, i := range st.services {
		r.replicas[i.Service()] = []*lab.Instance{i}
		r.start(i.Service())
	}
	for _, service := range fleet.Services() { // at rest they are not: nobody has reported yet
		r.ready(r.replicas[service][1])
	}
	web, hot := st.API.RecordStatuses("web"), st.API.RecordStatuses("hot-0")
	fault.Inject(st.Stack, st.storm)
	settled(t, st.Stack, "hot-0", counts(stormDevices, stormDevices, 0, 0, 0), fleet.ConditionTrue)
	st.Eventually(10*time.Second, "the watch to have seen it", func(context.Context) error {
		if seen := hot.All(); len(seen) == 0 || countsOf(seen[len(seen)-1].Aggregate) != counts(stormDevices, stormDevices, 0, 0, 0) {
			return fmt.Errorf("%d statuses", len(seen))
		}
		return nil
	})
	settledAt := len(hot.All())

	from := len(r.Recorded())
	for _, k := range r.rng.Perm(len(fleet.Services())) {
		service := fleet.Services()[k]
		for _, old := range r.replicas[service] {
			r.replace(old)
		}
	}
	_, mean, _ := st.storm.Acked()
	fault.Heal(st.Stack, st.storm)
	ended := time.Now()
	st.folded("the final counts")
	st.Measured("final counts after a rolling replacement under load", time.Since(ended), 10*time.Second)
	if mean < replacementLeast {
		t.Errorf("%.0f reports a second, want at least %d", mean, replacementLeast)
	}
	r.WaitReady(6)
	r.AtRest()
	r.judge(t, r.Recorded()[from:])
	for _, s := range hot.All()[settledAt:] {
		if countsOf(s.Aggregate) != counts(stormDevices, stormDevices, 0, 0, 0) {
			t.Errorf("a status of hot-0 counted %v, although all its reports said Running", countsOf(s.Aggregate))
		}
	}
	for _, s := range web.All() {
		if countsOf(s.Aggregate) != counts(2, 2, 0, 0, 0) {
			t.Errorf("a status of web counted %v, although nobody touched it", countsOf(s.Aggregate))
		}
	}
}

// replace starts a replica, and stops an old one of its service once the new one is ready.
func (r *replicated) replace(old *lab.Instance) {
	r.T().Helper()
	since := time.Now()
	r.ready(r.Start(old.Service()))
	r.Measured("a new replica of "+old.Service()+" ready", time.Since(since), 20*time.Second)
	old.Stop()
}

// ready waits until a replica is ready beside the others.
func (r *replicated) ready(i *lab.Instance) {
	r.T().Helper()
	r.Eventually(20*time.Second, i.ID()+" to be ready beside the others", func(ctx context.Context) error {
		h, err := i.Probe(ctx)
		if err == nil && !h.Ready {
			err = fmt.Errorf("it is %s: %v", h.State, h.Reasons)
		}
		return err
	})
}
