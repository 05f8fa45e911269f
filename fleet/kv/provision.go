package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jsm.go/api"

	"harmony.dev/fleet"
)

// Ensure is for the bucket's owner. It creates the stream in KV shape when there is none, reads the
// configuration back and compares it field by field: a server that does not know a field drops it
// silently, and without some of them there is no fence. An existing stream is never changed.
// It is idempotent, and safe when two replicas call it at once.
//
// Errors: [ErrServerTooOld], [ErrNoJetStream], [*ConfigError], [*FleetError], and what the
// connection returns.
func (b *Bucket) Ensure(ctx context.Context) error {
	info, err := b.bind(ctx)
	if errors.Is(err, ErrBucketMissing) {
		if err := b.create(ctx); err != nil {
			return fmt.Errorf("create bucket %s: %w", b.name, err)
		}
		info, err = b.bind(ctx)
	}
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", b.name, err)
	}
	return b.compare(info, nil)
}

// Check is for readers. It reports whether the bucket exists, is of this fleet, and has the fields
// that a reader relies on. It never creates anything.
//
// Errors: [ErrBucketMissing] and those of [Bucket.Ensure].
func (b *Bucket) Check(ctx context.Context) error {
	info, err := b.bind(ctx)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", b.name, err)
	}
	return b.compare(info, reads)
}

func (b *Bucket) bind(ctx context.Context) (*api.StreamInfo, error) {
	if !b.nc.IsConnected() {
		return nil, errDisconnected
	}
	if err := checkVersion(b.nc.ConnectedServerVersion()); err != nil {
		return nil, err
	}
	return b.info(ctx)
}

// create asks for the stream. That another replica was faster is no error: the caller binds.
func (b *Bucket) create(ctx context.Context) error {
	cfg := streamConfig(b.name, b.prov, firstSequence(time.Now()))
	subject := fmt.Sprintf(api.JSApiStreamCreateT, cfg.Name)
	_, err := call[api.JSApiStreamCreateResponse](ctx, b.nc, subject, api.JSApiStreamCreateRequest{StreamConfig: cfg})
	if api.IsNatsErr(err, codeNameInUse) {
		return nil
	}
	return err
}

func (b *Bucket) compare(info *api.StreamInfo, relied func(string) bool) error {
	if err := compareFleet(b.name, b.prov.Fleet, info.Config); err != nil {
		return err
	}
	diffs, err := differences(streamConfig(b.name, b.prov, 0), info.Config, relied)
	if err != nil {
		return err
	}
	if len(diffs) > 0 {
		return &ConfigError{Bucket: b.name, Differences: diffs}
	}
	return nil
}

// info reads the stream's configuration and state from its leader.
func (b *Bucket) info(ctx context.Context) (*api.StreamInfo, error) {
	resp, err := b.streamInfo(ctx, api.JSApiStreamInfoRequest{})
	if err != nil {
		return nil, err
	}
	return resp.StreamInfo, nil
}

func (b *Bucket) streamInfo(ctx context.Context, req api.JSApiStreamInfoRequest) (api.JSApiStreamInfoResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	subject := fmt.Sprintf(api.JSApiStreamInfoT, fleet.StreamName(b.name))
	resp, err := call[api.JSApiStreamInfoResponse](ctx, b.nc, subject, req)
	if err == nil && resp.StreamInfo == nil {
		err = fmt.Errorf("answer on %s has no stream", subject)
	}
	return resp, err
}
