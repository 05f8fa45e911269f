package kv

import (
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// Op says what a message does to its key.
type Op uint8

// The operations.
const (
	Put     Op = iota // the key has a value
	Delete            // a delete marker
	Purge             // a purge marker
	Expired           // the marker that the server leaves for a value whose TTL ended
	Swept             // synthetic: the key had a value or a marker in view and has no message in the stream any more
)

// String returns the operation in lower case.
func (o Op) String() string {
	switch o {
	case Put:
		return "put"
	case Delete:
		return "delete"
	case Purge:
		return "purge"
	case Expired:
		return "expired"
	case Swept:
		return "swept"
	}
	return "unknown"
}

// Message is one operation on a key.
type Message struct {
	Key      string
	Value    []byte    // of a Put; nil otherwise. The receiver may keep it, not change it
	Revision uint64    // sequence in the stream; for Swept that of the last message seen
	Time     time.Time // the server's stamp; zero for Swept
	Op       Op
	Marker   bool        // of Swept: a marker has gone, the value had gone before
	Header   nats.Header // nil when there is none
}

// Epoch returns the fencing token under which the message was written, 0 when it has none or a
// malformed one.
func (m Message) Epoch() uint64 {
	if m.Header == nil {
		return 0
	}
	epoch, err := fleet.ParseEpoch(m.Header.Get(fleet.HeaderEpoch))
	if err != nil {
		return 0
	}
	return epoch
}
