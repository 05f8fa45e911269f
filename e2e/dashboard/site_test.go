package dashboard

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// site is a fleet that is looked at.
type site struct {
	*lab.Stack
	t                               *testing.T
	patcher, reconciler, aggregator *lab.Instance
	devices                         *lab.Instance
}

// devices is how many a small fleet has: six in each of four regions.
const devices = 24

// Shorter than in production, so that a device is stale, and the brake decides, within seconds.
var (
	quickAggregator = []string{"--heartbeat-interval", "2s", "--stale-after", "6s", "--silence-after", "60s", "--rebuild-for", "4s"}
	quickReconciler = []string{"--brake-quiet", "1s", "--brake-max-wait", "6s", "--incomplete-for", "1s"}
)

// newSite starts services and so many devices; nothing is to run on them.
func newSite(t *testing.T, o lab.Options, n int, flags ...string) *site {
	t.Helper()
	s := &site{Stack: lab.New(t, o), t: t}
	s.patcher = s.Start(fleet.ServicePatcher)
	s.reconciler = s.Start(fleet.ServiceReconciler, quickReconciler...)
	s.aggregator = s.Start(fleet.ServiceAggregator, quickAggregator...)
	s.devices = s.StartDevices(n, append([]string{"--heartbeat", "1s"}, flags...)...)
	s.WaitReady(3)
	s.AwaitDevices(40*time.Second, n, "")
	return s
}

// newSmallSite is one where "coast" runs on 12 devices, and "broken" fails on 6 others.
func newSmallSite(t *testing.T, o lab.Options) *site {
	t.Helper()
	s := newSite(t, o, devices)
	s.apply("coast", `{"image":"demo:1"}`, "east", "west")
	s.settled("coast", 12, 12, 0, 0, 0)
	return s
}

// breakSouth has a Deployment fail everywhere in the south.
func (s *site) breakSouth() {
	s.t.Helper()
	s.apply("broken", `{"fail":"no such image: demo:0"}`, "south")
	s.settled("broken", 6, 0, 6, 0, 0)
}

// regions selects devices by region.
func regions(names ...string) fleet.Selector {
	return fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: "region", Operator: "In", Values: names}}}
}

// apply wishes for a score of simulated devices in some regions.
func (s *site) apply(name, data string, where ...string) {
	s.t.Helper()
	s.API.Apply(lab.Deployment{Name: name, Selector: regions(where...), Score: fleet.Score{Type: "sim", Data: json.RawMessage(data)}})
}

// settled waits until a status has these counts for the current generation.
func (s *site) settled(name string, matched, running, failed, pending, stale int) {
	s.t.Helper()
	want := [5]int{matched, running, failed, pending, stale}
	s.Eventually(60*time.Second, "status of "+name, func(ctx context.Context) error { return s.API.Counts(ctx, name, want) })
}

// write writes a key of a bucket in the role of an agent.
func (s *site) write(bucket, key, value string) {
	s.t.Helper()
	fault.Inject(s.Stack, &fault.RawWrite{Bucket: bucket, Key: key, Value: value})
}

// report says something of a pair in the role of its agent, about the value that is desired now.
func (s *site) report(pair fleet.Pair, r fleet.Report) {
	s.t.Helper()
	s.reports(map[fleet.Pair]fleet.Report{pair: r})
}

// reports says something of many pairs.
func (s *site) reports(all map[fleet.Pair]fleet.Report) {
	s.t.Helper()
	desired, err := s.NATS.Keys(s.t.Context(), fleet.BucketDesiredState)
	if err != nil {
		s.t.Fatal(err)
	}
	for pair, r := range all {
		e, ok := desired[fleet.DesiredKey(pair)]
		if !ok {
			s.t.Fatalf("nothing is desired of %s", pair)
		}
		r.ObservedHash, r.LastEventAt = fleet.Hash([]byte(e.Value)), time.Now().UTC().Format(time.RFC3339)
		value, err := fleet.EncodeReport(r)
		if err != nil {
			s.t.Fatal(err)
		}
		s.write(fleet.BucketDeviceState, fleet.StateKey(pair), string(value))
	}
}
