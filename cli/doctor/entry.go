package doctor

import (
	"fmt"
	"strings"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/decode"
)

// Entry is a value of a bucket.
type Entry struct {
	Bucket   string
	Key      string
	Revision uint64
	Value    []byte
	Own      bool      // it carries an epoch: a service wrote it under its lease
	Stored   time.Time // the server's stamp
}

// Judge says what is wrong with an entry: its kind is empty when nothing is.
func Judge(e Entry) (Kind, error) {
	check, err := contract(e.Bucket, e.Key)
	switch {
	case err != nil:
		return IllegalKey, err
	case owner(e.Bucket) != "" && !e.Own && e.Key != fleet.KeyLease && e.Key != fleet.KeyEpoch:
		return ForeignWrite, fmt.Errorf("it has no %s: somebody else than %s wrote it", fleet.HeaderEpoch, owner(e.Bucket))
	}
	if owner(e.Bucket) == "" && fleet.IsPubAck(e.Value) {
		return ForeignWrite, fleet.ErrPubAck
	}
	if err := check(e.Value); err != nil {
		return MalformedValue, err
	}
	return "", nil
}

// contract returns how the value of a key is read, or why the key is none of the bucket.
func contract(bucket, key string) (func([]byte) error, error) {
	switch {
	case owner(bucket) != "" && key == fleet.KeyLease:
		return reads(fleet.DecodeLease), nil
	case owner(bucket) != "" && key == fleet.KeyEpoch:
		return reads(fleet.DecodeEpoch), nil
	}
	switch bucket {
	case fleet.BucketDesiredState:
		if _, ok := fleet.ParseAppliedKey(key); ok {
			return reads(fleet.DecodeApplied), nil
		}
		if key == fleet.KeyHold {
			return reads(fleet.DecodeHold), nil
		}
		_, err := fleet.ParseDesiredKey(key)
		return reads(fleet.DecodeDesired), err
	case fleet.BucketResources:
		if key == fleet.KeySynced {
			return reads(fleet.DecodeSynced), nil
		}
		k, err := fleet.ParseResourceKey(key)
		if k.Deployment != "" {
			return reads(fleet.DecodeMirrorDeployment), err
		}
		return reads(fleet.DecodeMirrorDevice), err
	case fleet.BucketDeviceInfo:
		_, err := fleet.ParseInfoKey(key)
		return reads(fleet.DecodeInfo), err
	case fleet.BucketDeviceState:
		_, err := fleet.ParseStateKey(key)
		return reads(decode.Report), err
	case fleet.BucketDeviceHeartbeat:
		_, err := fleet.ParseHeartbeatKey(key)
		return reads(fleet.DecodeHeartbeat), err
	}
	return nil, fmt.Errorf("%w: %.200q is no key of bucket %s", fleet.ErrIllegalKey, key, bucket)
}

func reads[T any](decode func([]byte) (T, error)) func([]byte) error {
	return func(b []byte) error {
		_, err := decode(b)
		return err
	}
}

// owner returns the service that alone may write a bucket, "" for the agents' buckets.
func owner(bucket string) string {
	for _, s := range fleet.Services() {
		if fleet.LeaseBucket(s) == bucket {
			return s
		}
	}
	return ""
}

// creator returns the service that creates a bucket.
func creator(bucket string) string {
	if s := owner(bucket); s != "" {
		return s
	}
	return fleet.ServiceAggregator
}

// deviceOf returns the device that a key of the agents' buckets is about, also when something else in the key
// is wrong, "" when it names none.
func deviceOf(bucket, key string) fleet.DeviceID {
	if owner(bucket) != "" {
		return ""
	}
	tokens := strings.Split(key, ".")
	if len(tokens) < 2 {
		return ""
	}
	if d := fleet.DeviceID(tokens[1]); d.Validate() == nil {
		return d
	}
	return ""
}
