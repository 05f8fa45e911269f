package kv

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// However the loss of the connection comes to light, people read the same of it.
func TestExplain(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		err        error
		own        bool
	}{
		{"nothing", "", nil, true},
		{"disconnected", "NATSDisconnected", errDisconnected, true},
		{"lost while a request went out", "NATSDisconnected", nats.ErrReconnectBufExceeded, true},
		{"reconnecting", "NATSDisconnected", nats.ErrConnectionReconnecting, true},
		{"lost while a reader subscribed", "NATSDisconnected", nats.ErrDisconnected, true},
		{"a reader without its bucket", "BucketMissing", ErrBucketMissing, false},
		{"an owner without its bucket", "BucketUnavailable", ErrBucketMissing, true},
		{"no JetStream", "NoJetStream", ErrNoJetStream, true},
		{"anything else", "BucketUnavailable", errors.New("anything else"), true},
	} {
		err := tc.err
		if err != nil {
			err = fmt.Errorf("open bucket: %w", err)
		}
		if got := explain(fleet.BucketDeviceState, tc.own, err); got.Reason != tc.want || (got.Message == "") != (err == nil) {
			t.Errorf("%s: %+v, want the reason %q", tc.name, got, tc.want)
		}
	}
}
