package scenarios

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/fault"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// Fault:   rolling restart of the three servers of a NATS cluster, one after the other, while devices report
// without pause; first the one that leads the stream of the reports.
// Promise: no acknowledged report is lost and the counts are those of the last ones; nothing is written to
// desired state or the mirror, and no status counts what it should not; each service is ready throughout, or
// says why not; none exits.
// Budget:  reports are taken again within 10 s of each stop; all at rest within 20 s of the last start.
// Found:   -
func TestR23_RollingRestartOfNATS(t *testing.T) {
	s := lab.New(t, lab.Options{Nodes: 3})
	s.Start(fleet.ServicePatcher)
	s.Start(fleet.ServiceReconciler, wholeSnapshots...)
	s.Start(fleet.ServiceAggregator, fastHearts...)
	s.StartDevices(8, "--heartbeat", "5s")
	s.WaitReady(3)
	registered(t, s, 8)
	const n = 8
	for i := range n {
		s.API.CreateDevice(fmt.Sprintf("load-%d", i), map[string]string{"region": "load"})
	}
	s.API.Apply(deployment("coast", region("east", "west")))
	s.API.Apply(deployment("load", region("load")))
	settled(t, s, "coast", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "load", counts(n, 0, 0, n, 0), fleet.ConditionFalse)
	first := startReports(t, s, n)
	first.stop()
	settled(t, s, "load", counts(n, n, 0, 0, 0), fleet.ConditionTrue)
	before := s.AtRest()
	load := startReports(t, s, n)
	load.await(50, 20*time.Second)
	coast, loaded := s.API.RecordStatuses("coast"), s.API.RecordStatuses("load")
	stopLooking := watchReasons(t, s)

	var started time.Time
	for i, first := 0, leader(s, fleet.BucketDeviceState); i < s.NATS.Nodes(); i++ {
		node := fault.NodeStop((first + i) % s.NATS.Nodes())
		fault.Inject(s, node)
		s.Measured(node.Target()+" stopped: reports of each pair are taken", load.each(30*time.Second), 10*time.Second)
		load.await(50, 30*time.Second)
		fault.Heal(s, node)
		started = time.Now()
		allCurrent(s)
		load.await(50, 30*time.Second)
	}
	load.stop()
	stopLooking()
	s.WaitReady(3)
	settled(t, s, "load", counts(n, n, 0, 0, 0), fleet.ConditionTrue)
	settled(t, s, "coast", counts(4, 4, 0, 0, 0), fleet.ConditionTrue)
	s.Measured("all at rest after the last start", time.Since(started), 20*time.Second)

	after := s.AtRest()
	for _, bucket := range []string{fleet.BucketDesiredState, fleet.BucketResources} {
		if d := lab.Changed("", before.Keys[bucket], after.Keys[bucket]); len(d) > 0 {
			t.Errorf("%s was written: %q", bucket, d)
		}
	}
	load.judge(after)
	for _, status := range coast.All() {
		if c := countsOf(status.Aggregate); c != counts(4, 4, 0, 0, 0) {
			t.Errorf("a status of coast counted %v", c)
		}
	}
	for _, status := range loaded.All() {
		if a := status.Aggregate; a.MatchedDeviceCount != n || a.Running+a.Failed+a.Pending+a.Stale != n || a.Stale > 0 {
			t.Errorf("a status of load counted %+v", a)
		}
	}
	for _, i := range s.Instances("") {
		if !i.Running() {
			t.Errorf("%s ended", i.ID())
		}
	}
}

// reports are made for devices that only the test knows, as agents make them: one in flight for each
// pair, and again until it is acknowledged.
type reports struct {
	t     *testing.T
	s     *lab.Stack
	acked atomic.Int64
	end   context.CancelFunc
	wg    sync.WaitGroup

	mu   sync.Mutex
	last map[string]lab.Entry // by key: what was acknowledged last
}

func startReports(t *testing.T, s *lab.Stack, n int) *reports {
	t.Helper()
	js := s.NATS.JetStream()
	desired, err := s.NATS.Keys(t.Context(), fleet.BucketDesiredState)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &reports{t: t, s: s, end: cancel, last: map[string]lab.Entry{}}
	for i := range n {
		pair := fleet.Pair{Device: fleet.DeviceID(fmt.Sprintf("load-%d", i)), Deployment: "load"}
		hash := fleet.Hash([]byte(desired[fleet.DesiredKey(pair)].Value))
		r.wg.Go(func() { r.report(ctx, js, fleet.StateKey(pair), hash) })
	}
	t.Cleanup(r.stop)
	return r
}

// report reports failures until the context ends, and then, at last, that it runs.
func (r *reports) report(ctx context.Context, js jetstream.JetStream, key, hash string) {
	for n := 0; ctx.Err() == nil; n++ {
		r.publish(js, key, fleet.Report{Phase: fleet.PhaseFailed, ObservedHash: hash, LastError: fmt.Sprintf("attempt %d", n)})
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	r.publish(js, key, fleet.Report{Phase: fleet.PhaseRunning, ObservedHash: hash})
}

func (r *reports) publish(js jetstream.JetStream, key string, report fleet.Report) {
	report.LastEventAt = time.Now().UTC().Format(time.RFC3339Nano)
	value, err := fleet.EncodeReport(report)
	if err != nil {
		r.t.Errorf("encode a report: %v", err)
		return
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		ack, err := js.Publish(ctx, fleet.KeySubject(fleet.BucketDeviceState, key), value, jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			r.s.Acked(fleet.BucketDeviceState, key, ack.Sequence, string(value))
			r.mu.Lock()
			r.last[key] = lab.Entry{Revision: ack.Sequence, Value: string(value)}
			r.mu.Unlock()
			r.acked.Add(1)
			return
		}
		if time.Now().After(deadline) {
			r.t.Errorf("%s is not taken: %v", key, err)
			return
		}
		time.Sleep(20 * time.Millisecond) // as an agent does before it tries again
	}
}

// await waits until so many more reports were acknowledged, and returns how long that took.
func (r *reports) await(n int64, within time.Duration) time.Duration {
	r.t.Helper()
	start, from := time.Now(), r.acked.Load()
	r.s.Eventually(within, fmt.Sprintf("%d reports taken", n), func(context.Context) error {
		if got := r.acked.Load() - from; got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
	return time.Since(start)
}

// each waits until a report of each pair was acknowledged, and returns how long that took.
func (r *reports) each(within time.Duration) time.Duration {
	r.t.Helper()
	r.mu.Lock()
	from := maps.Clone(r.last)
	r.mu.Unlock()
	start := time.Now()
	r.s.Eventually(within, "a report of each pair taken", func(context.Context) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for key, e := range from {
			if r.last[key] == e {
				return fmt.Errorf("none of %s", key)
			}
		}
		return nil
	})
	return time.Since(start)
}

// stop returns when the last report of each pair is acknowledged.
func (r *reports) stop() {
	r.end()
	r.wg.Wait()
}

// judge asserts that what was acknowledged last is there, as it was.
func (r *reports) judge(p lab.Picture) {
	r.t.Helper()
	r.t.Logf("%d reports were acknowledged", r.acked.Load())
	for key, want := range r.last {
		got := p.Keys[fleet.BucketDeviceState][key]
		// A report that was sent again because its acknowledgement was late may lie behind it, once more.
		if got.Revision < want.Revision || got.Value != want.Value {
			r.t.Errorf("%s is %v, acknowledged was %v", key, got, want)
		}
	}
}

// leader returns which of the servers leads the stream of a bucket, from 0.
func leader(s *lab.Stack, bucket string) (node int) {
	s.T().Helper()
	s.Eventually(30*time.Second, "a leader of "+bucket, func(ctx context.Context) error {
		stream, err := s.NATS.JetStream().Stream(ctx, fleet.StreamName(bucket))
		if err != nil {
			return err
		}
		name := stream.CachedInfo().Cluster.Leader
		if name == "nats" { // as docker-compose.yml calls the first
			name = "nats-1"
		}
		if _, err := fmt.Sscanf(name, "nats-%d", &node); err != nil {
			return fmt.Errorf("it is %q: %w", name, err)
		}
		return nil
	})
	return node - 1
}

// allCurrent waits until each stream has all of its replicas up to date.
func allCurrent(s *lab.Stack) {
	s.T().Helper()
	s.Eventually(60*time.Second, "every replica of every stream current", func(ctx context.Context) error {
		for _, bucket := range buckets {
			stream, err := s.NATS.JetStream().Stream(ctx, fleet.StreamName(bucket))
			if err != nil {
				return err
			}
			c := stream.CachedInfo().Cluster
			if c == nil || c.Leader == "" || len(c.Replicas) != s.NATS.Nodes()-1 {
				return fmt.Errorf("%s: %+v", bucket, c)
			}
			for _, peer := range c.Replicas {
				if !peer.Current || peer.Offline {
					return fmt.Errorf("%s: %s is not current", bucket, peer.Name)
				}
			}
		}
		return nil
	})
}

// watchReasons asserts, until stopped, that whoever is not ready says why: what it has no view of, or a reason.
func watchReasons(t *testing.T, s *lab.Stack) (stop func()) {
	looks, unready := 0, 0
	end := watchHealth(s, func(h fleet.Health) {
		looks++
		if h.Ready {
			return
		}
		unready++
		reads := slices.ContainsFunc(h.Sources, func(s fleet.Source) bool { return !s.Synced })
		if (h.State != fleet.StateReplaying || !reads) && (h.State != fleet.StateDegraded || len(h.Reasons) == 0) {
			t.Errorf("%s is not ready, %s, and says no reason: %+v", h.Instance, h.State, h.Reasons)
		}
	})
	return func() {
		end()
		if looks == 0 {
			t.Error("nobody was asked how it is")
		}
		t.Logf("%d of %d answers were of an instance that is not ready", unready, looks)
	}
}
