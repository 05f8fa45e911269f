package kv

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// delivery is what a consumer says of a message, in the reply subject (ADR-15).
type delivery struct {
	revision uint64 // sequence in the stream
	sequence uint64 // of the consumer: rises by one with each message
	pending  uint64 // messages after this one
	time     time.Time
}

const ackPrefix = "$JS.ACK."

// isDelivery reports whether a message comes from the stream; else it is a status of the consumer.
func isDelivery(m *nats.Msg) bool { return strings.HasPrefix(m.Reply, ackPrefix) }

// parseDelivery reads the last five of the tokens
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>.<random>
//
// without allocating: it runs once for each message.
func parseDelivery(reply string) (delivery, error) {
	var starts [13]int
	n := 1
	for i := range len(reply) {
		if reply[i] == '.' {
			if n == len(starts) {
				return delivery{}, fmt.Errorf("read delivery %.80q: too many tokens", reply)
			}
			starts[n] = i + 1
			n++
		}
	}
	first := n - 4 // the form with 9 tokens ends with the four numbers wanted
	if n >= 11 {
		first = 7
	} else if n != 9 {
		return delivery{}, fmt.Errorf("read delivery %.80q: %d tokens", reply, n)
	}
	var numbers [4]uint64
	for i := range numbers {
		end := len(reply)
		if first+i+1 < n {
			end = starts[first+i+1] - 1
		}
		v, ok := parseUint(reply[starts[first+i]:end])
		if !ok {
			return delivery{}, fmt.Errorf("read delivery %.80q: token %d is no number", reply, first+i)
		}
		numbers[i] = v
	}
	return delivery{
		revision: numbers[0],
		sequence: numbers[1],
		time:     time.Unix(0, int64(numbers[2])).UTC(),
		pending:  numbers[3],
	}, nil
}

// parseUint reads a decimal number, and refuses one that does not fit.
func parseUint(s string) (uint64, bool) {
	if s == "" || len(s) > 20 {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		c := uint64(s[i] - '0')
		if c > 9 || i == 19 && n > (math.MaxUint64-c)/10 {
			return 0, false
		}
		n = n*10 + c
	}
	return n, true
}

// operation tells from the headers what a stored message does to its key.
func operation(h nats.Header) Op {
	if h == nil {
		return Put
	}
	switch h.Get(headerMarker) {
	case "MaxAge":
		return Expired
	case "Purge":
		return Purge
	case "Remove":
		return Delete
	}
	switch h.Get(headerOperation) {
	case operationDelete:
		return Delete
	case operationPurge:
		return Purge
	}
	return Put
}
