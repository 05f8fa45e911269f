package kv

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// headerHolder names the elector that wrote a lease, uniquely: instance names are chosen by people.
const headerHolder = "Fleet-Holder"

// lease is the key "_lease" as it stands in the bucket.
type lease struct {
	revision uint64 // 0: no message
	held     bool   // it has a value, no marker
	expires  bool   // it was written with a TTL
	instance string // for people
	holder   string // headerHolder
}

// readLease reads the lease from the stream's leader.
func readLease(ctx context.Context, b *Bucket) (lease, error) {
	m, err := b.last(ctx, fleet.KeyLease)
	if err != nil || m == nil {
		return lease{}, err
	}
	h, err := nats.DecodeHeadersMsg(m.Header)
	if err != nil && len(m.Header) > 0 {
		return lease{}, fmt.Errorf("read the headers of %s: %w", fleet.KeyLease, err)
	}
	l := lease{
		revision: m.Sequence, held: operation(h) == Put,
		expires: h.Get(headerTTL) != "", holder: h.Get(headerHolder),
	}
	var record fleet.LeaseRecord
	if json.Unmarshal(m.Data, &record) == nil { // a lease that cannot be read is held by somebody unknown
		l.instance = record.Instance
	}
	return l, nil
}

// leaseMessage returns the message that takes or renews a lease which is at revision.
func leaseMessage(cfg ElectorConfig, holder, term string, revision uint64) (*nats.Msg, error) {
	value, err := json.Marshal(fleet.LeaseRecord{Instance: cfg.Instance, Term: term})
	if err != nil {
		return nil, fmt.Errorf("encode lease: %w", err)
	}
	m := &nats.Msg{Subject: fleet.KeySubject(cfg.Bucket.name, fleet.KeyLease), Data: value, Header: nats.Header{}}
	m.Header.Set(headerTTL, formatTTL(cfg.TTL))
	m.Header.Set(headerHolder, holder)
	expectRevision(m, "", revision)
	return m, nil
}

// releaseMessage returns the message that gives back a lease which is at revision.
func releaseMessage(bucket string, revision uint64) *nats.Msg {
	m := &nats.Msg{Subject: fleet.KeySubject(bucket, fleet.KeyLease), Header: nats.Header{}}
	m.Header.Set(headerOperation, operationDelete)
	expectRevision(m, "", revision)
	return m
}

// epochMessage returns the message that takes an epoch, on condition that the lease is at revision.
func epochMessage(cfg ElectorConfig, term string, revision uint64) (*nats.Msg, error) {
	value, err := json.Marshal(fleet.EpochRecord{Instance: cfg.Instance, Lease: revision, Term: term})
	if err != nil {
		return nil, fmt.Errorf("encode epoch: %w", err)
	}
	m := &nats.Msg{Subject: fleet.KeySubject(cfg.Bucket.name, fleet.KeyEpoch), Data: value, Header: nats.Header{}}
	expectRevision(m, fleet.KeySubject(cfg.Bucket.name, fleet.KeyLease), revision)
	return m, nil
}
