package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrPubAck is why a value under a device's key is set aside that no device has written, see [IsPubAck].
var ErrPubAck = errors.New("the server's answer to somebody else's write, whose sender aimed it at this key")

// IsPubAck reports whether a value is what JetStream answers to a write: an object with "stream" and "seq" (nats-server,
// JSPubAckResponse). The server sends it wherever the writer says, whether the writer may write there or not: a
// device that names another device's key as its reply subject has the server write it there.
func IsPubAck(value []byte) bool {
	if !bytes.Contains(value, []byte(`"stream"`)) { // almost all
		return false
	}
	var ack struct {
		Stream *string `json:"stream"`
		Seq    *uint64 `json:"seq"`
	}
	return json.Unmarshal(value, &ack) == nil && ack.Stream != nil && ack.Seq != nil
}
