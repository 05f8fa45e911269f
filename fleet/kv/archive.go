package kv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
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
			header: body[:h.HeaderSize], payload: body[h.HeaderSize:],
		})
		if err != nil {
			return err
		}
	}
}

// headerBytes writes headers as they are on the wire.
func headerBytes(h nats.Header) []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return slices.Concat([]byte("NATS/1.0\r\n"), b.Bytes(), []byte("\r\n"))
}
