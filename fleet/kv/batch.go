package kv

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// Limits of one atomic batch (ADR-50).
const (
	batchMessages = 1000
	batchBytes    = 4 << 20
)

// keyFence carries the fence of a batch in which every other message has a condition of its own: one
// message can have only one.
const keyFence = "_fence"

// Write is one fenced operation on a key.
type Write struct {
	Key    string
	Value  []byte
	Delete bool              // write a delete marker; Value is ignored
	Header map[string]string // additional headers
	Expect *uint64           // expected last revision of this key; nil means any
	TTL    time.Duration     // how long the message lives, in whole seconds; 0 means for ever, for a delete one hour
}

// validate refuses what the term itself must keep in its hands, and keys that cannot be published to.
func (w Write) validate() error {
	switch w.Key {
	case fleet.KeyLease, fleet.KeyEpoch, keyFence:
		return fmt.Errorf("%w: %s is written by the term only", fleet.ErrIllegalKey, w.Key)
	}
	return checkKey(w.Key)
}

// message returns the operation as it is published, without any condition.
func (w Write) message(bucket string, epoch uint64) *nats.Msg {
	m := &nats.Msg{Subject: fleet.KeySubject(bucket, w.Key), Header: nats.Header{}}
	for _, name := range slices.Sorted(maps.Keys(w.Header)) {
		m.Header.Set(name, w.Header[name])
	}
	m.Header.Set(fleet.HeaderEpoch, fleet.FormatEpoch(epoch))
	ttl := w.TTL
	if w.Delete {
		m.Header.Set(headerOperation, operationDelete)
		ttl = orDefault(ttl, deleteTTL)
	} else {
		m.Data = w.Value
	}
	if ttl > 0 {
		m.Header.Set(headerTTL, formatTTL(ttl))
	}
	return m
}

// size is about how many bytes a message has on the wire.
func size(m *nats.Msg) int {
	n := len(m.Subject) + len(m.Data)
	for name, values := range m.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// batches cuts operations into runs that fit into one atomic batch each, in order. A key is written
// only once in a run: the condition on a second write could not be checked.
func batches(bucket string, epoch uint64, ops []Write) [][]Write {
	var all [][]Write
	begin, bytes, free := 0, 0, false
	keys := map[string]bool{}
	for i, op := range ops {
		n := size(op.message(bucket, epoch)) + batchOverhead
		count := i - begin + 1
		if !free && op.Expect != nil {
			count++ // the fence needs a message of its own
		}
		if i > begin && (count > batchMessages || bytes+n > batchBytes || keys[op.Key]) {
			all = append(all, ops[begin:i])
			begin, bytes, free = i, 0, false
			clear(keys)
		}
		bytes += n
		keys[op.Key] = true
		free = free || op.Expect == nil
	}
	if begin < len(ops) {
		all = append(all, ops[begin:])
	}
	return all
}

// batchOverhead is about how many bytes the headers of batch and condition add to a message.
const batchOverhead = 256

// fencedMessages returns the messages of one batch. Exactly one of them carries the fence, the others
// their own condition if they have one.
func fencedMessages(bucket string, epoch uint64, ops []Write) []*nats.Msg {
	msgs := make([]*nats.Msg, 0, len(ops)+1)
	carrier := -1
	for i, op := range ops {
		m := op.message(bucket, epoch)
		if op.Expect != nil {
			expectRevision(m, "", *op.Expect)
		} else if carrier < 0 {
			carrier = i
		}
		msgs = append(msgs, m)
	}
	if carrier < 0 {
		carrier = 0
		fence := Write{Key: keyFence, Value: []byte(fleet.FormatEpoch(epoch))}
		msgs = slices.Insert(msgs, 0, fence.message(bucket, epoch))
	}
	expectRevision(msgs[carrier], fleet.KeySubject(bucket, fleet.KeyEpoch), epoch)
	return msgs
}

// number makes messages one atomic batch: the last one commits it.
func number(id string, msgs []*nats.Msg) {
	for i, m := range msgs {
		m.Header.Set(headerBatchID, id)
		m.Header.Set(headerBatchSequence, strconv.Itoa(i+1))
	}
	msgs[len(msgs)-1].Header.Set(headerBatchCommit, "1")
}
