package kv

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/nats-io/jsm.go/api"

	"harmony.dev/fleet"
)

// Request is a message to the server that mends a bucket. It stands by itself, so that a person can send it
// with any client.
type Request struct {
	Subject string
	Header  []Field
	Body    []byte // nil, or JSON
}

// Field is one header.
type Field struct{ Name, Value string }

// RemoveRequest returns the request that removes the message under a key which is still at revision, whatever
// the key: a newer message stays. Keys that are no legal ones are what it is for.
//
// As a rule it is a purge, which works in a full bucket too, and leaves nothing. A purge takes a pattern in
// JSON, so a key with a wildcard or with bytes that are no UTF-8 gets a delete marker instead, for an hour.
// With a wildcard that is without a condition: the server would check it against other keys.
func RemoveRequest(bucket, key string, revision uint64) (Request, error) {
	subject := fleet.KeySubject(bucket, key)
	if !utf8.ValidString(key) || hasWildcard(key) {
		r := Request{Subject: subject, Header: []Field{{headerOperation, operationDelete}, {headerTTL, formatTTL(deleteTTL)}}}
		if !hasWildcard(key) {
			r.Header = append(r.Header, Field{headerExpectRevision, strconv.FormatUint(revision, 10)})
		}
		return r, nil
	}
	body, err := json.Marshal(api.JSApiStreamPurgeRequest{Subject: subject, Sequence: revision + 1})
	if err != nil {
		return Request{}, fmt.Errorf("encode request: %w", err)
	}
	return Request{Subject: fmt.Sprintf(api.JSApiStreamPurgeT, fleet.StreamName(bucket)), Body: body}, nil
}
