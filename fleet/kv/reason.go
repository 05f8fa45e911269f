package kv

import (
	"context"
	"errors"
	"fmt"

	"harmony.dev/fleet"
	"harmony.dev/fleet/rpc"
)

// explain says in words for people why a bucket cannot be used, and what to do.
func explain(bucket string, own bool, err error) fleet.Reason {
	var config *ConfigError
	var other *FleetError
	switch {
	case err == nil:
		return fleet.Reason{}
	case errors.Is(err, context.Canceled):
		return fleet.Reason{Reason: "Stopping", Message: "stopping"}
	case errors.Is(err, errDisconnected), rpc.Unsent(err):
		return fleet.Reason{Reason: "NATSDisconnected", Message: "no connection to NATS: check that the server runs and that --nats-url points to it"}
	case errors.Is(err, ErrNoJetStream):
		return fleet.Reason{Reason: "NoJetStream", Message: ErrNoJetStream.Error()}
	case errors.Is(err, ErrServerTooOld):
		return fleet.Reason{Reason: "ServerTooOld", Message: err.Error()}
	case errors.As(err, &config):
		return fleet.Reason{Reason: "BucketConfig", Message: config.Error() + ": it is never changed by itself; set the service's --kv flags to it, or edit the stream, or delete it to have it rebuilt"}
	case errors.As(err, &other):
		return fleet.Reason{Reason: "FleetMismatch", Message: other.Error()}
	case errors.Is(err, ErrBucketMissing) && !own:
		return fleet.Reason{Reason: "BucketMissing", Message: fmt.Sprintf("bucket %s does not exist: %s creates it", bucket, creator(bucket))}
	}
	return fleet.Reason{Reason: "BucketUnavailable", Message: err.Error()}
}
