package kv

import (
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// backupKeys is how many reports the benchmarks of backup and restore have: 1,000 devices with 100 Deployments.
const backupKeys = 100_000

// BenchmarkDump copies a bucket, without the disk. The metric ratio is what that takes to what a bare consumer that pulls the
// same messages takes, in the same run.
func BenchmarkDump(b *testing.B) {
	bucket := fullBucket(b)
	var ours, raw time.Duration
	for b.Loop() {
		began := time.Now()
		dump(b, bucket)
		ours += time.Since(began)
		b.StopTimer()
		began = time.Now()
		rawReplay(b, bucket, backupKeys)
		raw += time.Since(began)
		b.StartTimer()
	}
	reportRatio(b, ours, raw)
}

// BenchmarkRestore closes the bucket, loads it and opens it. The metric ratio is what that takes to what it takes to publish as
// many messages with PublishAsync, in the same run.
func BenchmarkRestore(b *testing.B) {
	bucket := fullBucket(b)
	archive, d := dump(b, bucket)
	var ours, raw time.Duration
	for b.Loop() {
		began := time.Now()
		restored(b, bucket, archive, d.Meta)
		ours += time.Since(began)
		b.StopTimer()
		began = time.Now()
		fillBench(b, bucket, backupKeys)
		raw += time.Since(began)
		b.StartTimer()
	}
	reportRatio(b, ours, raw)
}

func fullBucket(b *testing.B) *Bucket {
	b.Helper()
	bucket := ensured(b, fleettest.NATS(b).Conn(b), fleet.BucketDeviceState, prov())
	fillBench(b, bucket, backupKeys)
	return bucket
}

func reportRatio(b *testing.B, ours, raw time.Duration) {
	b.Helper()
	b.ReportMetric(float64(b.N)*backupKeys/ours.Seconds(), "keys/s")
	b.ReportMetric(ours.Seconds()/raw.Seconds(), "ratio")
}
