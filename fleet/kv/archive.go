package kv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// An archive is what a NATS server 2.15 or newer makes of a stream and takes to restore one: entries with subject,
// sequence, stamp, headers and payload, first of all the stream's state, last of all one that is empty. Compressed with s2.

// archiveState is the name of the first entry.
const archiveState = "state.json"

// ErrBadArchive says that an archive is not whole, or none at all.
var ErrBadArchive = errors.New("the archive is damaged")

// entry is one message in an archive, as the stream had it.
type entry struct {
	subject  string
	sequence uint64
	stamp    int64 // nanoseconds
	header   []byte
	payload  []byte
}

// archiver writes an archive.
type archiver struct {
	s2 *s2.Writer
	w  *archive.Writer
}

// newArchive begins an archive of a stream in that state. Restored, its sequences begin and end at least as it says.
func newArchive(w io.Writer, state api.StreamState) (*archiver, error) {
	a := &archiver{s2: s2.NewWriter(w)}
	a.w = archive.NewWriter(a.s2)
	doc, err := json.Marshal(state)
	if err == nil {
		err = a.add(archive.Header{Name: archiveState, Timestamp: time.Now().UnixNano(), PayloadSize: int64(len(doc))}, doc)
	}
	return a, err
}

func (a *archiver) add(h archive.Header, parts ...[]byte) error {
	if err := a.w.WriteHeader(&h); err != nil {
		return err
	}
	for _, b := range parts {
		if _, err := a.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (a *archiver) message(e entry) error {
	h := archive.Header{
		Name: e.subject, Sequence: e.sequence, Timestamp: e.stamp,
		HeaderSize: int64(len(e.header)), PayloadSize: int64(len(e.payload)),
	}
	return a.add(h, e.header, e.payload)
}

// end makes the archive whole. Without it no reader takes it.
func (a *archiver) end() error {
	return errors.Join(a.add(archive.Header{}), a.w.Close(), a.s2.Close())
}

// abandon frees what an archive that does not become whole holds.
func (a *archiver) abandon() { _ = a.s2.Close() }

// readArchive reads an archive to its end. Sequences rise. An error that the archive is to blame for wraps
// [ErrBadArchive].
func readArchive(r io.Reader, each func(entry) error) error {
	a := archive.NewReader(s2.NewReader(r))
	h, err := a.Next()
	switch {
	case err != nil:
		return fmt.Errorf("%w: it cannot be read: %w", ErrBadArchive, err)
	case h.Name != archiveState || h.Sequence != 0:
		return fmt.Errorf("%w: it does not begin with the state of a stream", ErrBadArchive)
	}
	var last uint64
	for {
		h, err := a.Next()
		if err != nil {
			return fmt.Errorf("%w: it ends, or cannot be read, after sequence %d: %w", ErrBadArchive, last, err)
		}
		if h.Sequence == 0 && h.Name == "" {
			return nil
		}
		if h.Sequence <= last {
			return fmt.Errorf("%w: sequence %d comes after %d", ErrBadArchive, h.Sequence, last)
		}
		last = h.Sequence
		body, err := io.ReadAll(a)
		if err != nil || int64(len(body)) != h.HeaderSize+h.PayloadSize {
			return fmt.Errorf("%w: message %d cannot be read: %w", ErrBadArchive, last, errors.Join(err, io.ErrUnexpectedEOF))
		}
		err = each(entry{
			subject: h.Name, sequence: h.Sequence, stamp: h.Timestamp,
			header: cleaned(body[:h.HeaderSize]), payload: body[h.HeaderSize:],
		})
		if err != nil {
			return err
		}
	}
}

// keptHeaders are the headers that the product writes and reads, and how a value must be to be kept. What else is in a
// message is a device's own, and what a client reads of it need not be what the server reads: written again, it can grow
// beyond what the server takes, and have in it what the server refuses.
var keptHeaders = map[string]func(value string) bool{
	fleet.HeaderEpoch: func(v string) bool { _, err := fleet.ParseEpoch(v); return err == nil },
	fleet.HeaderCause: func(string) bool { return true },
	headerOperation:   func(v string) bool { return v == operationDelete || v == operationPurge },
	headerMarker:      func(v string) bool { return v == "MaxAge" || v == "Purge" || v == "Remove" },
	headerTTL:         takenTTL,
}

// longestHeader is the longest value that is kept of a header.
const longestHeader = 64

// headerBytes writes the headers that are kept as they are on the wire.
func headerBytes(h nats.Header) []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(keptHeaders)) {
		if v := h.Get(name); plain(v) && keptHeaders[name](v) {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return slices.Concat([]byte("NATS/1.0\r\n"), b.Bytes(), []byte("\r\n"))
}

// plain reports whether every client and server reads a value of a header alike.
func plain(v string) bool {
	for i := range len(v) {
		if v[i] <= ' ' || v[i] > '~' {
			return false
		}
	}
	return v != "" && len(v) <= longestHeader
}

// takenTTL reports whether the server takes a TTL when it restores. It refuses the whole archive for one that it does not.
func takenTTL(v string) bool {
	_, ok := parseTTL(v)
	return ok || strings.EqualFold(v, "never")
}

// cleaned returns what is kept of headers in an archive, whoever wrote it.
func cleaned(header []byte) []byte {
	if len(header) == 0 {
		return nil
	}
	h, err := nats.DecodeHeadersMsg(header)
	if err != nil {
		return nil
	}
	return headerBytes(h)
}

// expires reports whether an entry may be gone once it was restored.
func (e entry) expires() bool { return bytes.Contains(e.header, []byte("\r\n"+headerTTL+":")) }

// fits reports whether the server takes an entry of that size.
func (e entry) fits(largest int) bool { return len(e.header)+len(e.payload) <= largest }

// LeftOut are entries that a server would not restore. It refuses a whole archive because of one of them.
type LeftOut struct {
	Count uint64
	Keys  []string // some
}

func (l *LeftOut) add(key string) {
	if l.Count++; len(l.Keys) < 5 {
		l.Keys = append(l.Keys, key)
	}
}
