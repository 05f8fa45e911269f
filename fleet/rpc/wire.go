package rpc

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"harmony.dev/fleet"
)

// maxDescription is the size of the longest error text in a header, in bytes. The body has the whole.
const maxDescription = 512

// errorReply returns the message that carries e: code and text in micro's headers, the error as body.
func errorReply(e *fleet.Error) (*nats.Msg, error) {
	body, err := encode(e)
	if err != nil {
		return nil, err
	}
	return &nats.Msg{
		Header: nats.Header{
			micro.ErrorHeader:     {description(e)},
			micro.ErrorCodeHeader: {strconv.Itoa(int(e.Code))},
		},
		Data: body,
	}, nil
}

// parseReply returns the error that a reply carries, or nil when it carries an answer.
func parseReply(m *nats.Msg) *fleet.Error {
	code, text := m.Header.Get(micro.ErrorCodeHeader), m.Header.Get(micro.ErrorHeader)
	if code == "" && text == "" {
		return nil
	}
	e := &fleet.Error{}
	if json.Unmarshal(m.Data, e) != nil || e.Reason == "" {
		e = &fleet.Error{Reason: "Unknown", Message: text}
	}
	n, err := strconv.Atoi(code)
	if err != nil {
		n = int(fleet.CodeInternal)
	}
	e.Code = fleet.Code(n)
	return e
}

// description returns an error's text as one header line that is never empty: micro demands one.
func description(e *fleet.Error) string {
	s := strings.Join(strings.Fields(e.Message), " ")
	if s == "" {
		return e.Reason + "."
	}
	if len(s) <= maxDescription {
		return s
	}
	s = s[:maxDescription]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// isInbox reports whether a reply subject is one that a service may publish to: the inbox of a client
// ("_INBOX.…"), or the stand-in for one that the server makes up between accounts ("_R_.…").
func isInbox(reply string) bool { return strings.HasPrefix(reply, "_") }
