package kv

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// Storage is where a stream keeps its messages.
type Storage string

// The storages.
const (
	File   Storage = "file"
	Memory Storage = "memory"
)

// Provisioning is what an operator may choose about buckets.
type Provisioning struct {
	Fleet    string  // the Kubernetes namespace that the buckets belong to
	Replicas int     // 1, 3 or 5; 0 means 1
	Storage  Storage // "" means File
	MaxBytes int64   // limit of each bucket in bytes; 0 means unlimited
}

// Bucket is one KV bucket reached by one connection. It is safe for concurrent use.
type Bucket struct {
	nc   *nats.Conn
	name string
	prov Provisioning
}

// Open returns the bucket of that name. It does no I/O.
func Open(nc *nats.Conn, bucket string, p Provisioning) *Bucket {
	return &Bucket{nc: nc, name: bucket, prov: p}
}

// Name returns the bucket's name: "desired-state".
func (b *Bucket) Name() string { return b.name }

// Revision returns the last sequence under key, 0 when there is no message. It is read from the
// stream's leader: a replica may be behind. A marker counts as a message.
func (b *Bucket) Revision(ctx context.Context, key string) (uint64, error) {
	m, err := b.last(ctx, key)
	if err != nil || m == nil {
		return 0, err
	}
	return m.Sequence, nil
}

// last reads the last message under a key or key pattern from the stream's leader, nil when there is none.
func (b *Bucket) last(ctx context.Context, key string) (*api.StoredMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	subject := fmt.Sprintf(api.JSApiMsgGetT, fleet.StreamName(b.name))
	req := api.JSApiMsgGetRequest{LastFor: fleet.KeySubject(b.name, key)}
	resp, err := call[api.JSApiMsgGetResponse](ctx, b.nc, subject, req)
	if api.IsNatsErr(err, codeNoMessage) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of bucket %s: %w", key, b.name, err)
	}
	return resp.Message, nil
}

// Put writes a value and waits for the acknowledgement. It is not fenced: for the agents' buckets
// only. It returns the value's revision, or ErrUnknownOutcome when no answer came.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, h nats.Header) (uint64, error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	ack, err := publish(ctx, b.nc, &nats.Msg{Subject: fleet.KeySubject(b.name, key), Data: value, Header: h})
	if err != nil {
		return 0, fmt.Errorf("put %s into bucket %s: %w", key, b.name, conflict(err))
	}
	return ack.Sequence, nil
}

// DeleteIf puts a delete marker on a key that is still at revision, and returns ErrConflict when it is
// not. The marker goes by itself after an hour.
func (b *Bucket) DeleteIf(ctx context.Context, key string, revision uint64) error {
	if err := checkKey(key); err != nil {
		return err
	}
	m := &nats.Msg{Subject: fleet.KeySubject(b.name, key), Header: nats.Header{}}
	m.Header.Set(headerOperation, operationDelete)
	m.Header.Set(headerTTL, formatTTL(deleteTTL))
	expectRevision(m, "", revision)
	if _, err := publish(ctx, b.nc, m); err != nil {
		return fmt.Errorf("delete %s from bucket %s: %w", key, b.name, conflict(err))
	}
	return nil
}

// Purge removes all messages under a key, also one that is no legal KV key. It leaves no marker:
// readers notice by their guard. A key with a wildcard in it is refused, since it would name others.
func (b *Bucket) Purge(ctx context.Context, key string) error {
	if key == "" || hasWildcard(key) {
		return fmt.Errorf("purge %q from bucket %s: %w: it would remove other keys", key, b.name, fleet.ErrIllegalKey)
	}
	subject := fmt.Sprintf(api.JSApiStreamPurgeT, fleet.StreamName(b.name))
	req := api.JSApiStreamPurgeRequest{Subject: fleet.KeySubject(b.name, key)}
	if _, err := call[api.JSApiStreamPurgeResponse](ctx, b.nc, subject, req); err != nil {
		return fmt.Errorf("purge %s from bucket %s: %w", key, b.name, err)
	}
	return nil
}

// conflict turns a refused expectation into ErrConflict. A write that collided is one too for a
// caller that decides anew.
func conflict(err error) error {
	if refused(err) || collided(err) {
		return fmt.Errorf("%w (%w)", ErrConflict, err)
	}
	return err
}

// checkKey reports whether a key can be published to.
func checkKey(key string) error {
	bad := key == "" || strings.ContainsAny(key, " \t\r\n") || hasWildcard(key) ||
		strings.HasPrefix(key, ".") || strings.HasSuffix(key, ".") || strings.Contains(key, "..")
	if bad {
		return fmt.Errorf("%w: %q", fleet.ErrIllegalKey, key)
	}
	return nil
}

func hasWildcard(key string) bool {
	for token := range strings.SplitSeq(key, ".") {
		if token == "*" || token == ">" {
			return true
		}
	}
	return false
}
