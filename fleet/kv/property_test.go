package kv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// Whatever is done to a bucket, at rest the view is what the bucket has.
func TestReflector_AtRestTheViewEqualsTheBucket(t *testing.T) {
	const seed = 20261123
	for name, conn := range servers(t) {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			nc := conn.Conn(t)
			b := ensured(t, nc, fleet.BucketResources, conn.prov)
			v := newRecorder()
			r := reflect(t, ReflectorConfig{Bucket: b, Own: true, View: v, Poll: 30 * time.Millisecond, BackoffMin: time.Millisecond})
			for round := range 40 {
				var done []string
				for range 1 + random.IntN(12) {
					done = append(done, disturb(t, b, random))
				}
				fleettest.Eventually(t, soon, fmt.Sprintf("seed %d, round %d: after %v the view equals the bucket", seed, round, done), func() bool {
					return r.Synced() && equal(t, v, b)
				})
			}
			t.Logf("%d passes", v.passes())
		})
	}
}

// disturb does one thing to a bucket and returns what.
func disturb(t *testing.T, b *Bucket, random *rand.Rand) string {
	t.Helper()
	key := fmt.Sprintf("device.%d", random.IntN(15))
	switch n := random.IntN(100); {
	case n < 5:
		tryPut(t, b, key, nats.Header{headerTTL: {"1s"}})
		return "put for a second " + key
	case n < 10:
		tryPut(t, b, key, nats.Header{headerMarker: {"MaxAge"}, headerTTL: {"1s"}})
		return "marker for a second " + key
	case n < 55:
		tryPut(t, b, key, nil)
		return "put " + key
	case n < 65:
		tryPut(t, b, key, nats.Header{headerOperation: {operationDelete}})
		return "delete " + key
	case n < 75:
		tryPut(t, b, key, nats.Header{headerOperation: {operationPurge}, "Nats-Rollup": {"sub"}})
		return "purge marker " + key
	case n < 90:
		purge(t, b, key)
		return "purge " + key
	case n < 94:
		for _, name := range consumers(t, b) {
			deleteConsumer(t.Context(), b.nc, b.name, name)
		}
		return "delete consumers"
	case n < 97:
		// A server that still removes the files of an earlier stream of this name may lose those of the
		// present one, and then refuses this.
		if err := tryPurgeAll(t, b); err != nil {
			t.Logf("purge the stream: %v", err)
			deleteStream(t, b)
			ensured(t, b.nc, b.name, b.prov)
			return "purge refused, delete and create the stream"
		}
		return "purge all"
	default:
		deleteStream(t, b)
		ensured(t, b.nc, b.name, b.prov)
		return "delete and create the stream"
	}
}

// tryPut repeats a write while the stream has no leader yet.
func tryPut(t *testing.T, b *Bucket, key string, h nats.Header) {
	t.Helper()
	fleettest.Eventually(t, soon, "put "+key, func() bool {
		_, err := b.Put(t.Context(), key, []byte(time.Now().String()), h)
		return err == nil
	})
}

// A subject purged by hand is noticed also while other keys change all the time and the view is never
// where the stream is.
func TestReflector_PurgeUnderWrites(t *testing.T) {
	srv := fleettest.NATS(t)
	b := ensured(t, srv.Conn(t), fleet.BucketDeviceHeartbeat, prov())
	fill(t, b, "heartbeat.pi-", 500)
	v := newRecorder()
	r := reflect(t, ReflectorConfig{Bucket: b, View: v, Poll: 200 * time.Millisecond})
	fleettest.Eventually(t, soon, "synced", r.Synced)
	stop := background(t, func(ctx context.Context) {
		js, err := srv.Conn(t).JetStream(nats.PublishAsyncMaxPending(256))
		if err != nil {
			t.Error(err)
			return
		}
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = js.PublishAsync(fleet.KeySubject(b.name, fmt.Sprintf("heartbeat.pi-%d", 1+i%499)), nil, nats.StallWait(time.Second))
		}
	})
	fleettest.Eventually(t, soon, "the writes are in view", func() bool { return v.count(Put) > 2000 })
	if v.passes() != 1 {
		t.Fatalf("%d passes: writes alone are no violation", v.passes())
	}
	purge(t, b, "heartbeat.pi-0")
	fleettest.Eventually(t, soon, "the purged key is swept", func() bool {
		_, ok := v.get("heartbeat.pi-0")
		return !ok
	})
	stop()
	fleettest.Eventually(t, soon, "the view equals the bucket", func() bool { return r.Synced() && equal(t, v, b) })
}
