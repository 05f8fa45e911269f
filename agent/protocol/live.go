package protocol

import (
	"errors"
	"fmt"
	"strconv"

	"harmony.dev/fleet"
)

// ErrNotOwn says that a message on a live subject is no republished change of an own key.
var ErrNotOwn = errors.New("not a change of an own key")

// Op is what happened to a key.
type Op uint8

// The operations.
const (
	Put     Op = iota
	Delete     // a delete or purge marker
	Expired    // the server's marker for a value that outlived its time (ADR-43)
)

// Live is a change of an own desired-state key, as the server republished it.
type Live struct {
	Deployment fleet.DeploymentName
	Sequence   uint64 // of this message in desired-state
	Previous   uint64 // of the message under the same key before it; 0 = none
	Op         Op
	Epoch      uint64 // 0: not written by the reconciler
	Value      []byte // of a Put
}

// Headers that the server adds to a republished message, and those of KV operations (ADR-8, ADR-43).
const (
	headerStream   = "Nats-Stream"
	headerSubject  = "Nats-Subject"
	headerSequence = "Nats-Sequence"
	headerPrevious = "Nats-Last-Sequence"
	headerOp       = "KV-Operation"
	headerMarker   = "Nats-Marker-Reason"
)

// DecodeLive reads a message that arrived on a live subject. The subject proves nothing: a reply of the
// server can be aimed at it. What counts is that the headers of the republication name an own key. The
// server appends them to those of the stored message, so one of them twice is a forgery. Any error
// wraps [ErrNotOwn].
func DecodeLive(device fleet.DeviceID, subject string, header map[string][]string, data []byte) (Live, error) {
	pair, err := fleet.ParseLiveSubject(subject)
	if err != nil || pair.Device != device {
		return Live{}, fmt.Errorf("%w: subject %.100q", ErrNotOwn, subject)
	}
	stored := fleet.KeySubject(fleet.BucketDesiredState, fleet.DesiredKey(pair))
	if s := one(header, headerStream); s != fleet.StreamName(fleet.BucketDesiredState) {
		return Live{}, fmt.Errorf("%w: stream %.100q", ErrNotOwn, s)
	}
	if s := one(header, headerSubject); s != stored {
		return Live{}, fmt.Errorf("%w: stored subject %.100q", ErrNotOwn, s)
	}
	seq, err := strconv.ParseUint(one(header, headerSequence), 10, 64)
	if err != nil || seq == 0 {
		return Live{}, fmt.Errorf("%w: no sequence", ErrNotOwn)
	}
	previous, err := strconv.ParseUint(one(header, headerPrevious), 10, 64)
	if err != nil {
		return Live{}, fmt.Errorf("%w: no last sequence", ErrNotOwn)
	}
	l := Live{Deployment: pair.Deployment, Sequence: seq, Previous: previous, Op: op(header)}
	// An epoch that cannot be parsed is none: the message is foreign.
	l.Epoch, _ = fleet.ParseEpoch(one(header, fleet.HeaderEpoch))
	if l.Op == Put {
		l.Value = data
	}
	return l, nil
}

func op(header map[string][]string) Op {
	marker, kv := one(header, headerMarker), one(header, headerOp)
	switch {
	case marker == "MaxAge":
		return Expired
	case marker != "" || kv == "DEL" || kv == "PURGE":
		return Delete
	}
	return Put
}

// one returns the value of a header that occurs exactly once, else "".
func one(header map[string][]string, name string) string {
	if v := header[name]; len(v) == 1 {
		return v[0]
	}
	return ""
}
