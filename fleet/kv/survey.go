package kv

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/jsm.go/api"

	"harmony.dev/fleet"
)

// Survey is what one look at a bucket's stream finds.
type Survey struct {
	Fleet       string    // the fleet that the bucket says it belongs to, "" when it says none
	Time        time.Time // the server's clock
	Created     time.Time // of the stream
	Backup      time.Time // it came out of a backup of then; zero: it did not
	Messages    uint64
	Differences []string // settings that the bucket needs otherwise: "max_age is 60000000000, must be 0"
	// Edit gives the bucket its settings back and keeps its messages. Its Subject is empty when nothing
	// differs, and when the server refuses to change one of the settings: then only Delete helps, after
	// which the bucket's owner creates it anew.
	Edit   Request
	Delete Request
}

// Survey looks at the bucket's stream. Of what an operator may choose, nothing counts as a difference: it need
// not be known how the services are set up.
//
// Errors: [ErrBucketMissing], [ErrNoJetStream], [ErrServerTooOld], and what the connection returns.
func (b *Bucket) Survey(ctx context.Context) (Survey, error) {
	info, err := b.bind(ctx)
	if err != nil {
		return Survey{}, fmt.Errorf("look at bucket %s: %w", b.name, err)
	}
	s := Survey{
		Fleet: info.Config.Metadata[fleet.MetadataFleet],
		Time:  info.TimeStamp, Created: info.Created, Messages: info.State.Msgs,
		Delete: Request{Subject: fmt.Sprintf(api.JSApiStreamDeleteT, fleet.StreamName(b.name))},
	}
	s.Backup, _ = time.Parse(time.RFC3339, info.Config.Metadata[fleet.MetadataBackup])
	want := streamConfig(b.name, chosen(info.Config), 0)
	if s.Differences, err = differences(want, info.Config, nil); err != nil {
		return Survey{}, err
	}
	if len(s.Differences) > 0 {
		s.Edit, err = editRequest(want, info.Config)
	}
	return s, err
}

// chosen returns what an operator may have chosen to get a stream of that configuration.
func chosen(cfg api.StreamConfig) Provisioning {
	p := Provisioning{Fleet: cfg.Metadata[fleet.MetadataFleet], Replicas: cfg.Replicas, Storage: File, MaxBytes: cfg.MaxBytes}
	if cfg.Storage == api.MemoryStorage {
		p.Storage = Memory
	}
	return p
}

// editRequest returns the request that changes what differs and nothing else, an empty one when the server
// would refuse it.
func editRequest(want, got api.StreamConfig) (Request, error) {
	ds, err := differ(want, got, nil)
	if err != nil || !beginsWell(got) {
		return Request{}, err
	}
	cfg, err := fields(got)
	if err != nil {
		return Request{}, err
	}
	for _, d := range ds {
		switch {
		case fixed(d.field):
			return Request{}, nil
		case len(d.want) == 0:
			delete(cfg, d.field)
		default:
			cfg[d.field] = d.want
		}
	}
	body, err := json.Marshal(cfg)
	if err != nil {
		return Request{}, fmt.Errorf("encode stream configuration: %w", err)
	}
	return Request{Subject: fmt.Sprintf(api.JSApiStreamUpdateT, got.Name), Body: body}, nil
}
