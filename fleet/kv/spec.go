package kv

import (
	"strings"
	"time"

	"github.com/nats-io/jsm.go/api"

	"harmony.dev/fleet"
)

const (
	// markerTTL is how long the server keeps the marker of an expired message in a fenced bucket.
	markerTTL = time.Minute
	// deleteTTL is how long a delete marker stays: the brake counts deletes of up to one hour.
	deleteTTL = time.Hour
	// duplicateWindow is the server's own default. Message ids are not used.
	duplicateWindow = 2 * time.Minute
	// headerRoom is what a message may carry in headers beyond the largest value of its bucket.
	headerRoom = 4 << 10
)

// fenced reports whether only one service writes the bucket, under a lease and an epoch. The others
// are written by the agents.
func fenced(bucket string) bool {
	switch bucket {
	case fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat:
		return false
	}
	return true
}

// creator returns the service that creates the bucket.
func creator(bucket string) string {
	switch bucket {
	case fleet.BucketDesiredState:
		return fleet.ServiceReconciler
	case fleet.BucketResources:
		return fleet.ServicePatcher
	}
	return fleet.ServiceAggregator
}

// maxValueSize returns the size of the largest value of a bucket, in bytes.
func maxValueSize(bucket string) int {
	switch bucket {
	case fleet.BucketDesiredState:
		return fleet.MaxDesiredSize
	case fleet.BucketDeviceInfo:
		return fleet.MaxInfoSize
	case fleet.BucketDeviceState:
		return fleet.MaxReportSize
	case fleet.BucketDeviceHeartbeat:
		return fleet.MaxHeartbeatSize
	}
	return fleet.MaxMirrorSize
}

// largestMessage returns the size of the largest message of a bucket, headers and value, in bytes.
func largestMessage(bucket string) int { return maxValueSize(bucket) + headerRoom }

// streamConfig returns the stream of a bucket in KV shape (ADR-8). A fenced bucket takes atomic
// batches and leaves markers where a TTL ended. An agent-written one has no marker TTL: it would
// make the server allow roll-ups, and with one message a device could wipe the bucket.
func streamConfig(bucket string, p Provisioning, firstSeq uint64) api.StreamConfig {
	cfg := api.StreamConfig{
		Name:         fleet.StreamName(bucket),
		Description:  "Harmony Fleet: bucket " + bucket + ", created by " + creator(bucket),
		Subjects:     []string{fleet.KeySubject(bucket, ">")},
		Retention:    api.LimitsPolicy,
		MaxConsumers: -1,
		MaxMsgsPer:   1,
		MaxMsgs:      -1,
		MaxBytes:     -1,
		MaxMsgSize:   int32(largestMessage(bucket)),
		Storage:      api.FileStorage,
		Discard:      api.DiscardNew,
		Replicas:     max(p.Replicas, 1),
		Duplicates:   duplicateWindow,
		DenyDelete:   true,
		AllowDirect:  true,
		AllowMsgTTL:  true,
		FirstSeq:     firstSeq,
		Metadata:     map[string]string{fleet.MetadataFleet: p.Fleet},
	}
	if p.MaxBytes > 0 {
		cfg.MaxBytes = p.MaxBytes
	}
	if p.Storage == Memory {
		cfg.Storage = api.MemoryStorage
	}
	if fenced(bucket) {
		cfg.AllowAtomicPublish = true
		cfg.SubjectDeleteMarkerTTL = markerTTL
		cfg.RollupAllowed = true // the marker TTL implies it
	}
	if bucket == fleet.BucketDesiredState {
		cfg.RePublish = &api.RePublish{
			Source:      fleet.KeySubject(bucket, ">"),
			Destination: strings.TrimSuffix(fleet.LivePrefix, ".") + ".>",
		}
	}
	return cfg
}

// firstSequence returns where the sequences of a stream created at that time begin: microseconds. So
// they never go backwards over incarnations, and a token of a lost stream is never valid again.
func firstSequence(now time.Time) uint64 { return uint64(now.UnixMicro()) }
