package plan

import (
	"errors"
	"time"

	"harmony.dev/fleet"
)

// Op is what a message does to its key.
type Op uint8

// The operations.
const (
	Put     Op = iota // the key has a value
	Marker            // a delete or purge marker
	Expired           // the marker that the server leaves when a message's time to live ends
	Gone              // no message is left under the key
)

// Message is one operation on a key of either bucket.
type Message struct {
	Key      string
	Value    []byte // of a Put; kept, so not to be changed
	Revision uint64
	Time     time.Time // the server's stamp
	Op       Op
	Own      bool        // it carries an epoch: a holder of the bucket wrote it
	Cause    fleet.Cause // of an own delete of a pair
}

// ErrForeign says that a message of a fenced bucket carries no epoch: somebody else wrote it.
var ErrForeign = errors.New("foreign: it carries no " + fleet.HeaderEpoch)

// Aside is returned for a message whose key or value is not of the contract: the entry was set aside.
type Aside struct {
	Err  error
	Kept bool // an earlier good value still counts
}

// Error says what is wrong with the entry.
func (a *Aside) Error() string { return a.Err.Error() }

// Unwrap returns the cause.
func (a *Aside) Unwrap() error { return a.Err }

// read decodes the value of an own Put and refuses a foreign one.
func read[T any](m Message, decode func([]byte) (T, error)) (T, error) {
	if !m.Own {
		var none T
		return none, ErrForeign
	}
	return decode(m.Value)
}
