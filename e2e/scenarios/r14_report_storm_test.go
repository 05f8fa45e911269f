package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   thousands of reports a second, with times of every kind of wrong clock, while all services are
// killed (SIGKILL) and start again, and while the aggregator's connections are cut; a restart afterwards.
// Promise: per pair the last report in the stream wins, before and after a restart, whatever the devices'
// clocks say; a Deployment whose reports all say the same has one status all along; the final counts equal
// the fold of the stream.
// Budget:  ready within 60 s under the storm; the final counts within 10 s of its end.
// Found:   -
func TestR14_ReportStorm(t *testing.T) {
	st := newStorm(t)
	web, hot := st.API.RecordStatuses("web"), st.API.RecordStatuses("hot-0")

	fault.Inject(st.Stack, st.storm)
	settled(t, st.Stack, "hot-0", counts(stormDevices, stormDevices, 0, 0, 0), fleet.ConditionTrue)
	t.Run("restart", func(t *testing.T) {
		fault.Inject(st.Stack, fault.Kill(st.services))
		killed := time.Now()
		fault.Heal(st.Stack, fault.Kill(st.services))
		st.ready("after SIGKILL of all services", killed)
	})
	t.Run("connections cut", func(t *testing.T) {
		aggregator := st.Instances(fleet.ServiceAggregator)
		passes := st.passes(t, aggregator[0])
		cut := time.Now()
		fault.Inject(st.Stack, fault.ConnectionCut(aggregator))
		st.Eventually(30*time.Second, "the aggregator to read everything again", func(ctx context.Context) error {
			h, err := aggregator[0].Probe(ctx)
			if n := passesOf(h); err == nil && n < passes+5 {
				err = fmt.Errorf("%d passes, after %d", n, passes)
			}
			return err
		})
		st.ready("after a cut of the aggregator's connections", cut)
	})
	n, mean, best := st.storm.Acked()
	t.Logf("%d reports were acknowledged, %.0f a second, %.0f in the best second", n, mean, best)
	if best < 1000 {
		t.Errorf("the storm had at most %.0f reports a second", best)
	}
	fault.Heal(st.Stack, st.storm)

	ended := time.Now()
	st.folded("the final counts")
	st.Measured("final counts after a storm of reports", time.Since(ended), 10*time.Second)
	st.WaitReady(3)
	before := st.AtRest()
	t.Run("restart afterwards", func(t *testing.T) {
		st.Steady(func() {
			fault.Inject(st.Stack, fault.Kill(st.services))
			fault.Heal(st.Stack, fault.Kill(st.services))
			st.WaitReady(3)
			if d := lab.Difference(before, st.AtRest()); len(d) > 0 {
				t.Errorf("the restart changed something: %q", d)
			}
		})
		st.folded("the same counts")
	})
	all := counts(stormDevices, stormDevices, 0, 0, 0)
	seen := hot.All()
	first := slices.IndexFunc(seen, func(s fleet.DeploymentStatus) bool { return countsOf(s.Aggregate) == all })
	if first < 0 {
		t.Fatal("no status of hot-0 counted all of its reports")
	}
	for _, s := range seen[first:] {
		if countsOf(s.Aggregate) != all {
			t.Errorf("a status of hot-0 counted %v, although all its reports said Running", countsOf(s.Aggregate))
		}
	}
	for _, s := range web.All() {
		if countsOf(s.Aggregate) != counts(2, 2, 0, 0, 0) {
			t.Errorf("a status of web counted %v, although nobody touched it", countsOf(s.Aggregate))
		}
	}
}

// The fleet of R14: devices of a simulator beside those that the storm speaks for.
const (
	stormDevices     = 40
	stormDeployments = 5
	stormRate        = 3000
)

type storm struct {
	*lab.Stack
	services []*lab.Instance
	storm    *fault.ReportStorm
}

func newStorm(t *testing.T) *storm {
	seed := lab.Seed(t)
	st := &storm{Stack: lab.New(t, lab.Options{})}
	st.services = st.StartServices()
	st.StartDevices(8, "--clock", "dev-0001=-490000h", "--clock", "dev-0002=560000h")
	for i := range stormDevices {
		st.publish(t, fleet.BucketDeviceInfo, fleet.InfoKey(stormDevice(i)), `{"labels":{"region":"storm"}}`)
		st.publish(t, fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey(stormDevice(i)), `{}`)
	}
	registered(t, st.Stack, 8+stormDevices)
	st.API.Apply(deployment("web", region("north")))
	var pairs []fleet.Pair
	for i := range stormDeployments {
		name := fmt.Sprintf("hot-%d", i)
		st.API.Apply(deployment(name, region("storm")))
		for d := range stormDevices {
			pairs = append(pairs, fleet.Pair{Device: stormDevice(d), Deployment: fleet.DeploymentName(name)})
		}
	}
	settled(t, st.Stack, "web", counts(2, 2, 0, 0, 0), fleet.ConditionTrue)
	st.Eventually(20*time.Second, "all pairs to be desired", func(ctx context.Context) error { // no status before they report
		keys, err := st.NATS.Keys(ctx, fleet.BucketDesiredState)
		if err == nil && len(keys) != len(pairs)+2 {
			err = fmt.Errorf("%d keys", len(keys))
		}
		return err
	})
	st.storm = &fault.ReportStorm{Pairs: pairs, Next: stormReports(st.hashes(t)), Rate: stormRate, Seed: seed}
	return st
}

func stormDevice(i int) fleet.DeviceID { return fleet.DeviceID(fmt.Sprintf("storm-%02d", i)) }

func (st *storm) publish(t *testing.T, bucket, key, value string) {
	t.Helper()
	ack, err := st.NATS.JetStream().Publish(t.Context(), fleet.KeySubject(bucket, key), []byte(value), jetstream.WithExpectStream(fleet.StreamName(bucket)))
	if err != nil {
		t.Fatalf("write %s: %v", key, err)
	}
	st.Acked(bucket, key, ack.Sequence, value)
}

// hashes are those of the desired values, by Deployment.
func (st *storm) hashes(t *testing.T) map[fleet.DeploymentName]string {
	t.Helper()
	keys, err := st.NATS.Keys(t.Context(), fleet.BucketDesiredState)
	if err != nil {
		t.Fatalf("read desired state: %v", err)
	}
	out := map[fleet.DeploymentName]string{}
	for key, e := range keys {
		_, name, _ := strings.Cut(key, ".")
		out[fleet.DeploymentName(name)] = fleet.Hash([]byte(e.Value))
	}
	return out
}

// stormReports makes reports at random: of any phase, at any time, some about another value than the desired one.
// Those of hot-0 say that the desired value runs; only their times are wild.
func stormReports(hashes map[fleet.DeploymentName]string) func(fleet.Pair, *rand.Rand) []byte {
	return func(p fleet.Pair, rng *rand.Rand) []byte {
		r := fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: hashes[p.Deployment]}
		r.LastEventAt = time.Unix(rng.Int64N(120*365*24*3600), rng.Int64N(1e9)).UTC().Format(time.RFC3339Nano) // 1970 to 2090
		if p.Deployment != "hot-0" {
			r.Phase = []fleet.Phase{fleet.PhaseRunning, fleet.PhaseFailed, fleet.PhasePending}[rng.IntN(3)]
			if rng.IntN(5) == 0 {
				r.ObservedHash = fleet.Hash([]byte("another value"))
			}
		}
		if r.Phase == fleet.PhaseFailed {
			r.LastError = fmt.Sprintf("failure %d", rng.IntN(1000))
		}
		b, _ := json.Marshal(r) // strings only
		return b
	}
}

// ready waits until all services are, under the storm, and measures that from when they were not.
func (st *storm) ready(when string, since time.Time) {
	st.T().Helper()
	st.Eventually(60*time.Second, "services ready "+when, func(ctx context.Context) error {
		for _, i := range st.services {
			h, err := i.Probe(ctx)
			if err != nil {
				return err
			}
			if !h.Ready {
				return fmt.Errorf("%s is %s: %v", h.Instance, h.State, h.Reasons)
			}
		}
		return nil
	})
	st.Measured("ready under a storm of reports "+when, time.Since(since), 60*time.Second)
}

func (st *storm) folded(what string) {
	st.T().Helper()
	st.Eventually(20*time.Second, what+" to be the fold of the streams", func(ctx context.Context) error { return folded(ctx, st.Stack) })
}

// passes is how often an instance began to read something.
func (st *storm) passes(t *testing.T, i *lab.Instance) uint64 {
	t.Helper()
	h, err := i.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return passesOf(h)
}

func passesOf(h fleet.Health) (n uint64) {
	for _, s := range h.Sources {
		n += s.Pass
	}
	return n
}
