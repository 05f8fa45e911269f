package sim

import (
	"context"
	"fmt"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent/agenttest"
	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// BenchmarkFleet_Start measures how long a fleet takes from nothing until every device has registered,
// got its snapshot, and reported one workload as running: four acknowledged publishes and one request each.
// raw-pub/s is what one publisher reaches on the same server in the same run with the same window.
func BenchmarkFleet_Start(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				startFleet(b, n)
			}
		})
	}
}

func startFleet(b *testing.B, n int) {
	b.StopTimer()
	server := fleettest.NATS(b)
	operator, nc := server.Conn(b), server.Conn(b)
	buckets := agenttest.NewBuckets(b, operator)
	r := agenttest.NewReconciler(b, operator)
	raw := rawLimit(b, operator, 4*n)
	if got := buckets.Count(fleet.BucketDeviceState); got != n {
		b.Fatalf("the raw publishes left %d keys, not %d", got, n)
	}
	cfg := Config{
		Conns: []*nats.Conn{nc}, Devices: n, Prefix: "dev-", Delay: Range{Min: 50 * time.Millisecond, Max: 500 * time.Millisecond},
		Protocol: protocol.Config{ConnectJitter: time.Millisecond},
	}
	value, err := fleet.EncodeDesired(fleet.Desired{UID: "u", Score: fleet.Score{Type: "sim"}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		r.Tell(web(cfg, i), value, 1)
	}
	running := make(chan struct{}, n)
	seen := map[string]bool{}
	if _, err := operator.Subscribe(fleet.KeySubject(fleet.BucketDeviceState, "state.>"), func(m *nats.Msg) {
		if strings.Contains(string(m.Data), string(fleet.PhaseRunning)) && !seen[m.Subject] {
			seen[m.Subject] = true
			running <- struct{}{}
		}
	}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	b.StartTimer()
	before := time.Now()
	f, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	go func() { done <- f.Run(ctx) }()
	for range n {
		select {
		case <-running:
		case <-time.After(2 * time.Minute):
			b.Fatal("not every device runs")
		}
	}
	took := time.Since(before)
	b.StopTimer()
	b.ReportMetric(float64(4*n)/took.Seconds(), "pub/s")
	b.ReportMetric(raw, "raw-pub/s")
	b.ReportMetric(float64(heap())/float64(n), "heap-B/device")
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

// rawLimit returns how many acknowledged publishes a second the server takes.
func rawLimit(b *testing.B, nc *nats.Conn, n int) float64 {
	js, err := nc.JetStream(nats.PublishAsyncMaxPending(256))
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 150)
	before := time.Now()
	for i := range n {
		if _, err := js.PublishAsync(fmt.Sprintf("$KV.device-state.raw.%d", i%(n/4)), value, nats.StallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	return float64(n) / time.Since(before).Seconds()
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
