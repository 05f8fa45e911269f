package fleet

import (
	"errors"
	"fmt"
)

// Sentinels of this package. Test with errors.Is.
var (
	// ErrInvalid is wrapped by every error of a Validate method or a decoder.
	ErrInvalid = errors.New("invalid")
	// ErrIllegalKey is wrapped by the key parsers.
	ErrIllegalKey = errors.New("illegal key")
)

// Code is the numeric code of an [Error], sent in the header Nats-Service-Error-Code (ADR-32).
type Code int

// The codes; they mean what the HTTP status of the same number means.
const (
	CodeInvalid     Code = 400 // the request is malformed: do not repeat it
	CodeNotFound    Code = 404 // what the request names does not exist
	CodeConflict    Code = 409 // the request is about something that has changed since: look again
	CodeGone        Code = 412 // the sender's epoch is not the current one: stand down
	CodeBusy        Code = 429 // too many requests: try later
	CodeInternal    Code = 500 // a bug or an unexpected answer from a dependency; see ErrorID in the log
	CodeUnavailable Code = 503 // not now: a dependency or a view is not ready
)

// Error is what an endpoint answers when it does not answer the request: the body of the reply,
// with Code in its header. Message is safe to show to people and says what to do where it can.
type Error struct {
	Code    Code   `json:"-"`
	Reason  string `json:"reason"`  // one CamelCase word for programs: "EpochStale"
	Message string `json:"message"` // for people
	ErrorID string `json:"errorId"` // finds the line in the service's log
}

// Error returns the message with reason and code.
func (e *Error) Error() string {
	return fmt.Sprintf("%s (%s, code %d)", e.Message, e.Reason, e.Code)
}

// Errorf returns an [Error] without an id; the server adds one.
func Errorf(code Code, reason, format string, args ...any) *Error {
	return &Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the [Error] in err's chain, or zero when there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return 0
}
