package fleet

import (
	"fmt"
	"strings"
)

// The KV buckets. Each has one writer, which is also the one that creates it; the agents' buckets
// are created by the aggregator.
const (
	// BucketDesiredState is what each device is to run. Sole writer: the reconciler.
	BucketDesiredState = "desired-state"
	// BucketResources is the mirror of the custom resources. Sole writer: the patcher.
	BucketResources = "fleet-resources"
	// BucketLeases holds the lease of the service that owns no fenced bucket: the aggregator.
	BucketLeases = "fleet-leases"
	// BucketDeviceInfo is what each device says of itself. Writers: the agents.
	BucketDeviceInfo = "device-info"
	// BucketDeviceState is the last report of each pair. Writers: the agents.
	BucketDeviceState = "device-state"
	// BucketDeviceHeartbeat is the last ping of each device. Writers: the agents.
	BucketDeviceHeartbeat = "device-heartbeat"
)

// Keys that begin with "_" are the service's own book-keeping. They are no part of what a bucket
// says about devices and resources.
const (
	KeyLease  = "_lease"  // who may act; expires unless renewed
	KeyEpoch  = "_epoch"  // its revision is the fencing token
	KeyHold   = "_hold"   // desired-state: deletes that wait for a person
	KeySynced = "_synced" // fleet-resources: the mirror is whole, as of this epoch
)

// MetadataFleet is the stream metadata key whose value is the fleet (Kubernetes namespace) that the
// stream belongs to.
const MetadataFleet = "fleet"

// MetadataRestored is the stream metadata key that a restored bucket has: the last sequence that came out of the backup, in
// decimal. Whatever is above was written since.
const MetadataRestored = "fleet-restored"

// MetadataBackup is the stream metadata key that says of when the backup was, in RFC 3339.
const MetadataBackup = "fleet-backup"

const appliedPrefix = "_applied."

// StreamName returns the JetStream stream of a bucket: "KV_desired-state" (ADR-8).
func StreamName(bucket string) string { return "KV_" + bucket }

// ParseStreamName is the inverse of [StreamName]; ok is false for a stream that is no bucket.
func ParseStreamName(stream string) (bucket string, ok bool) {
	bucket, ok = strings.CutPrefix(stream, "KV_")
	return bucket, ok && bucket != ""
}

// RestoreStreamName returns the stream that keeps a bucket from being created while it is restored:
// "FLEET_RESTORE_desired-state".
func RestoreStreamName(bucket string) string { return "FLEET_RESTORE_" + bucket }

// RestoreSubject returns the subject that the stream of a bucket has in the place of its own while it is restored,
// and to which nobody publishes: "fleet.v1.restore.desired-state".
func RestoreSubject(bucket string) string { return "fleet.v1.restore." + bucket }

// KeySubject returns the subject of a key: "$KV.desired-state.pi-07.web" (ADR-8).
func KeySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// SubjectKey is the inverse of [KeySubject] for a known bucket; ok is false for a subject of another
// bucket or an empty key.
func SubjectKey(bucket, subject string) (key string, ok bool) {
	key, ok = strings.CutPrefix(subject, "$KV."+bucket+".")
	return key, ok && key != ""
}

// DesiredKey returns the key of a pair in desired-state: "pi-07.web".
func DesiredKey(p Pair) string { return p.String() }

// AppliedKey returns the key of a Deployment's applied record in desired-state: "_applied.web".
func AppliedKey(d DeploymentName) string { return appliedPrefix + string(d) }

// InfoKey returns the key of a device in device-info: "info.pi-07".
func InfoKey(d DeviceID) string { return "info." + string(d) }

// HeartbeatKey returns the key of a device in device-heartbeat: "heartbeat.pi-07".
func HeartbeatKey(d DeviceID) string { return "heartbeat." + string(d) }

// StateKey returns the key of a pair in device-state: "state.pi-07.web".
func StateKey(p Pair) string { return "state." + p.String() }

// DeploymentKey returns the key of a Deployment in fleet-resources: "deployment.web".
func DeploymentKey(d DeploymentName) string { return "deployment." + string(d) }

// DeviceKey returns the key of a Device in fleet-resources: "device.pi-07".
func DeviceKey(d DeviceID) string { return "device." + string(d) }

// IsReserved reports whether a key is book-keeping of a service: it begins with "_".
func IsReserved(key string) bool { return strings.HasPrefix(key, "_") }

// ParseDesiredKey is the inverse of [DesiredKey].
func ParseDesiredKey(key string) (Pair, error) { return parsePair(BucketDesiredState, key, key) }

// ParseAppliedKey is the inverse of [AppliedKey]; ok is false for any other key.
func ParseAppliedKey(key string) (name DeploymentName, ok bool) {
	s, ok := strings.CutPrefix(key, appliedPrefix)
	name = DeploymentName(s)
	return name, ok && name.Validate() == nil
}

// ParseStateKey is the inverse of [StateKey].
func ParseStateKey(key string) (Pair, error) {
	rest, ok := strings.CutPrefix(key, "state.")
	if !ok {
		return Pair{}, illegalKey(BucketDeviceState, key)
	}
	return parsePair(BucketDeviceState, key, rest)
}

// ParseInfoKey is the inverse of [InfoKey].
func ParseInfoKey(key string) (DeviceID, error) { return parseDevice(BucketDeviceInfo, key, "info.") }

// ParseHeartbeatKey is the inverse of [HeartbeatKey].
func ParseHeartbeatKey(key string) (DeviceID, error) {
	return parseDevice(BucketDeviceHeartbeat, key, "heartbeat.")
}

// ResourceKey is a parsed key of the mirror: exactly one of the two fields is set.
type ResourceKey struct {
	Deployment DeploymentName
	Device     DeviceID
}

// ParseResourceKey is the inverse of [DeploymentKey] and [DeviceKey].
func ParseResourceKey(key string) (ResourceKey, error) {
	if s, ok := strings.CutPrefix(key, "deployment."); ok {
		if d := DeploymentName(s); d.Validate() == nil {
			return ResourceKey{Deployment: d}, nil
		}
	}
	if s, ok := strings.CutPrefix(key, "device."); ok {
		if d := DeviceID(s); d.Validate() == nil {
			return ResourceKey{Device: d}, nil
		}
	}
	return ResourceKey{}, illegalKey(BucketResources, key)
}

func parsePair(bucket, key, s string) (Pair, error) {
	device, deployment, ok := strings.Cut(s, ".")
	p := Pair{DeviceID(device), DeploymentName(deployment)}
	if !ok || p.Device.Validate() != nil || p.Deployment.Validate() != nil {
		return Pair{}, illegalKey(bucket, key)
	}
	return p, nil
}

func parseDevice(bucket, key, prefix string) (DeviceID, error) {
	s, ok := strings.CutPrefix(key, prefix)
	d := DeviceID(s)
	if !ok || d.Validate() != nil {
		return "", illegalKey(bucket, key)
	}
	return d, nil
}

func illegalKey(bucket, key string) error {
	return fmt.Errorf("%w: %.200q is no key of bucket %s", ErrIllegalKey, key, bucket)
}
