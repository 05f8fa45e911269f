package kv

import (
	"testing"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// backupKeys is how many reports the benchmarks of backup and restore have: 1,000 devices with 100 Deployments.
const backupKeys = 100_000

// BenchmarkDump copies a bucket, without the disk. The metric ratio is what that takes to what a bare consumer that pulls the
// same messages takes, in the same run.
func BenchmarkDump(b *testing.B) {
	bucket := fullBucket(b)
	ours, _ := compare(b, func() { dump(b, bucket) }, func() { rawReplay(b, bucket, backupKeys) })
	b.ReportMetric(float64(b.N)*backupKeys/ours.Seconds(), "keys/s")
}

// BenchmarkRestore closes the bucket, loads it and opens it. The metric ratio is what that takes to what it takes to publish as
// many messages with PublishAsync, in the same run.
func BenchmarkRestore(b *testing.B) {
	bucket := fullBucket(b)
	archive, d := dump(b, bucket)
	ours, _ := compare(b, func() { restored(b, bucket, archive, d.Meta) }, func() { fillBench(b, bucket, backupKeys) })
	b.ReportMetric(float64(b.N)*backupKeys/ours.Seconds(), "keys/s")
}

func fullBucket(b *testing.B) *Bucket {
	b.Helper()
	bucket := ensured(b, fleettest.NATS(b).Conn(b), fleet.BucketDeviceState, prov())
	fillBench(b, bucket, backupKeys)
	return bucket
}
