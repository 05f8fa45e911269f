package kv

import (
	"errors"
	"fmt"
	"strings"

	"harmony.dev/fleet"
)

// Sentinels of this package. Test with errors.Is.
var (
	// ErrBucketMissing says that the bucket's stream does not exist.
	ErrBucketMissing = errors.New("the bucket does not exist")
	// ErrNoJetStream says that the server or the account has no JetStream.
	ErrNoJetStream = errors.New("JetStream is not available: start nats-server with -js and enable JetStream for the account")
	// ErrServerTooOld says that the server lacks features without which there is no fence.
	ErrServerTooOld = errors.New("the NATS server is too old")
	// ErrConflict says that a key is not at the revision that the operation expected: nothing was written.
	ErrConflict = errors.New("the key has changed since")
	// ErrDeposed says that the lease or the epoch is no longer one's own: nothing was written. Stand down.
	ErrDeposed = errors.New("a newer holder exists")
	// ErrUnknownOutcome says that an operation may or may not have happened, or may yet happen.
	ErrUnknownOutcome = errors.New("the outcome is unknown")
	// ErrPassEnded says that the reflector's pass ended while its caller waited.
	ErrPassEnded = errors.New("the pass ended")
)

// ConfigError says that an existing stream is not configured as the bucket needs it. Nothing is ever
// changed on it: that is a person's decision.
type ConfigError struct {
	Bucket      string
	Differences []string // "allow_atomic: is false, must be true"
}

// Error lists the differences.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("bucket %s is configured differently: %s", e.Bucket, strings.Join(e.Differences, "; "))
}

// FleetError says that a bucket belongs to another fleet: one NATS account holds one fleet.
type FleetError struct {
	Bucket string
	Want   string // the fleet of this process
	Got    string // the fleet in the stream's metadata, "" when there is none
}

// Error names both fleets.
func (e *FleetError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("bucket %s says of no fleet that it belongs to it: the operator did not create it; rename or delete it, or set the stream's metadata %s=%s", e.Bucket, fleet.MetadataFleet, e.Want)
	}
	return fmt.Sprintf("bucket %s belongs to fleet %q, not to %q: one NATS account holds one fleet", e.Bucket, e.Got, e.Want)
}
