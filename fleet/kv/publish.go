package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"
)

// Headers of JetStream and KV (ADR-8, ADR-43, ADR-50).
const (
	headerTTL               = "Nats-TTL"
	headerExpectRevision    = "Nats-Expected-Last-Subject-Sequence"
	headerExpectRevisionKey = "Nats-Expected-Last-Subject-Sequence-Subject"
	headerBatchID           = "Nats-Batch-Id"
	headerBatchSequence     = "Nats-Batch-Sequence"
	headerBatchCommit       = "Nats-Batch-Commit"
	headerMarker            = "Nats-Marker-Reason"
	headerOperation         = "KV-Operation"
	operationDelete         = "DEL"
	operationPurge          = "PURGE"
)

// publish sends a message and waits for the stream's acknowledgement. When the error wraps
// ErrUnknownOutcome the message may have been stored, or may yet be; with any other it was not. A
// refusal of the server is an api.ApiError.
func publish(ctx context.Context, nc *nats.Conn, m *nats.Msg) (api.PubAck, error) {
	reply, err := roundTrip(ctx, nc, m)
	if err != nil {
		switch {
		case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject):
			return api.PubAck{}, err
		case errors.Is(err, nats.ErrNoResponders):
			return api.PubAck{}, fmt.Errorf("%w: nobody takes messages for it (%w)", ErrBucketMissing, err)
		}
		return api.PubAck{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	var ack api.JSPubAckResponse
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return api.PubAck{}, fmt.Errorf("%w: decode acknowledgement: %w", ErrUnknownOutcome, err)
	}
	if ack.Error != nil {
		return api.PubAck{}, *ack.Error
	}
	if ack.Stream == "" {
		return api.PubAck{}, fmt.Errorf("%w: the acknowledgement names no stream", ErrUnknownOutcome)
	}
	return ack.PubAck, nil
}

// refused reports whether err says that an expected revision was not the present one.
func refused(err error) bool { return api.IsNatsErr(err, codeWrongLastSequence) }

// collided reports whether err says that nothing was stored and that the same may be sent again.
func collided(err error) bool {
	return api.IsNatsErr(err, codeBusy, codeBatchIncomplete, codeTooManyBatches)
}

// formatTTL returns a TTL as the server reads it: whole seconds, rounded up, at least one.
func formatTTL(d time.Duration) string {
	seconds := max((d+time.Second-1)/time.Second, 1)
	return strconv.FormatInt(int64(seconds), 10) + "s"
}

// parseTTL reads a TTL header exactly as the server does, which checks no overflow: a duration, or a
// number of seconds. ok is false for one that never ends.
func parseTTL(s string) (seconds int64, ok bool) {
	if d, err := time.ParseDuration(s); err == nil {
		return int64(d.Seconds()), d >= time.Second
	}
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		seconds = seconds*10 + int64(c)
	}
	return seconds, seconds > 0
}

// expectRevision adds the condition that key is at revision. An empty subject means the message's own.
func expectRevision(m *nats.Msg, subject string, revision uint64) {
	m.Header.Set(headerExpectRevision, strconv.FormatUint(revision, 10))
	if subject != "" {
		m.Header.Set(headerExpectRevisionKey, subject)
	}
}
