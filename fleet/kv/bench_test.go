package kv

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// benchValue is as long as a usual desired-state value.
var benchValue = make([]byte, 290)

// discard is a View that only counts.
type discard struct{ n int }

func (d *discard) Begin(Pass)    {}
func (d *discard) Apply(Message) { d.n++ }
func (d *discard) Synced(Pass)   {}
func (d *discard) Lost(error)    {}

// BenchmarkReplay reads a whole bucket, from the start of the reflector until it is synced. The metric
// raw-ns/key is what a bare consumer that pulls the same messages takes, in the same run; ratio is ours to
// that.
func BenchmarkReplay(b *testing.B) {
	for _, keys := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			nc := fleettest.NATS(b).Conn(b)
			bucket := ensured(b, nc, fleet.BucketDesiredState, prov())
			fillBench(b, bucket, keys)
			ours, raw := compare(b, func() { replay(b, bucket, keys) }, func() { rawReplay(b, bucket, keys) })
			n := float64(b.N) * float64(keys)
			b.ReportMetric(float64(ours.Nanoseconds())/n, "ns/key")
			b.ReportMetric(float64(raw.Nanoseconds())/n, "raw-ns/key")
		})
	}
}

// compare runs what is measured and the raw limit of it in turn, reports the ratio of their times, and returns them. Only the
// first is on the benchmark's own clock.
func compare(b *testing.B, measured, limit func()) (ours, raw time.Duration) {
	b.Helper()
	for b.Loop() {
		began := time.Now()
		measured()
		ours += time.Since(began)
		b.StopTimer()
		began = time.Now()
		limit()
		raw += time.Since(began)
		b.StartTimer()
	}
	b.ReportMetric(ours.Seconds()/raw.Seconds(), "ratio")
	return ours, raw
}

func fillBench(b *testing.B, bucket *Bucket, keys int) {
	b.Helper()
	js, err := bucket.nc.JetStream(nats.PublishAsyncMaxPending(4000))
	if err != nil {
		b.Fatal(err)
	}
	for i := range keys {
		if _, err := js.PublishAsync(fleet.KeySubject(bucket.name, fmt.Sprintf("pi-%d.web", i)), benchValue, nats.StallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

func replay(b *testing.B, bucket *Bucket, keys int) {
	b.Helper()
	v := &discard{}
	r := NewReflector(ReflectorConfig{Bucket: bucket, View: v})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	if err := r.WaitSeq(ctx, 0); err != nil {
		b.Fatal(err)
	}
	cancel()
	<-done
	if v.n != keys {
		b.Fatalf("read %d of %d keys", v.n, keys)
	}
}

func rawReplay(b *testing.B, bucket *Bucket, keys int) {
	b.Helper()
	c, err := openConsumer(b.Context(), bucket, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer c.close(b.Context())
	if err := c.pull(); err != nil {
		b.Fatal(err)
	}
	for n := 0; n < keys; n++ {
		m := <-c.msgs
		if !isDelivery(m) {
			n--
			continue
		}
		if c.requested--; c.requested <= c.batch/2 {
			if err := c.pull(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkWrite writes keys under the fence, by how many there are in one call. The metric raw-keys/s is
// the same number of messages with PublishAsync, unfenced, in the same run; ratio is ours to that.
func BenchmarkWrite(b *testing.B) {
	for _, keys := range []int{1, 10, 100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			nc := fleettest.NATS(b).Conn(b)
			bucket := ensured(b, nc, fleet.BucketDesiredState, prov())
			term := benchTerm(b, bucket)
			ops := make([]Write, keys)
			for i := range ops {
				ops[i] = Write{Key: fmt.Sprintf("pi-%d.web", i), Value: benchValue}
			}
			ours, raw := compare(b, func() {
				if _, err := term.Write(b.Context(), ops); err != nil {
					b.Fatal(err)
				}
			}, func() { fillBench(b, bucket, keys) })
			n := float64(b.N) * float64(keys)
			b.ReportMetric(n/ours.Seconds(), "keys/s")
			b.ReportMetric(n/raw.Seconds(), "raw-keys/s")
		})
	}
}

func benchTerm(b *testing.B, bucket *Bucket) *Term {
	b.Helper()
	e := NewElector(ElectorConfig{Bucket: bucket, Own: true, Instance: "bench", TTL: time.Hour})
	term, _, err := e.campaign(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { term.end(nil) })
	if _, err := term.NewEpoch(b.Context()); err != nil {
		b.Fatal(err)
	}
	return term
}
