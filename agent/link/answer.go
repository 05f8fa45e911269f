package link

import (
	"encoding/json"
	"errors"
	"strconv"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// Headers of an error reply (ADR-32).
const (
	headerError     = "Nats-Service-Error"
	headerErrorCode = "Nats-Service-Error-Code"
)

// pageEvent reads the answer to a snapshot request; nil means that none came.
func pageEvent(id uint64, m *nats.Msg) protocol.Event {
	failed := protocol.AskFailed{ID: id}
	switch {
	case m == nil:
		failed.Err = "no answer in time"
	case noResponders(m):
		failed.Code, failed.Err = fleet.CodeUnavailable, "nobody answers"
	case m.Header.Get(headerErrorCode) != "" || m.Header.Get(headerError) != "":
		code, _ := strconv.Atoi(m.Header.Get(headerErrorCode))
		failed.Code, failed.Err = fleet.Code(code), m.Header.Get(headerError)
	default:
		page, err := protocol.DecodePage(m.Data)
		if err == nil {
			return protocol.PageGot{ID: id, Page: page}
		}
		failed.Err = err.Error()
	}
	return failed
}

// outcome reads the server's answer to a publish. An answer that makes no sense says nothing.
func outcome(bucket string, m *nats.Msg, err error) protocol.Outcome {
	switch {
	case errors.Is(err, errNotSent):
		return protocol.Refused
	case m == nil:
		return protocol.Unknown
	case noResponders(m): // there is no such stream
		return protocol.Refused
	}
	var ack struct {
		Stream string `json:"stream"`
		Seq    uint64 `json:"seq"`
		Error  *struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil:
		return protocol.Unknown
	case ack.Error != nil:
		return protocol.Refused
	case ack.Stream != fleet.StreamName(bucket) || ack.Seq == 0:
		return protocol.Unknown
	}
	return protocol.Acknowledged
}

func noResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}
