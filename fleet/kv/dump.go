package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/jsm.go/api"

	"harmony.dev/fleet"
)

// Dump is what was copied of a bucket.
type Dump struct {
	Fleet    string    // the fleet that the bucket says it belongs to
	Created  time.Time // of the stream
	Messages uint64    // in the archive; of a key that was written meanwhile there may be several
	Bytes    uint64    // of headers and values
	Last     uint64    // the last sequence copied
	LeftOut  LeftOut   // what is in the bucket, and could not be restored
	Meta     []byte    // JSON: the stream's configuration and state, as a server needs them to restore it
}

// dumpMeta is Meta.
type dumpMeta struct {
	Config api.StreamConfig `json:"config"`
	State  api.StreamState  `json:"state"`
}

// Dump writes an archive of the bucket to w: the last message under each key, with its headers and stamp, also
// markers and illegal keys. Each is called now and then with how many messages were written.
//
// The server's own snapshot is not used for this: a key that is written while a snapshot is taken is not in it at
// all, neither as it was nor as it is. This reads as [Bucket.Scan] does, which ends when every key was read.
//
// Errors: [ErrBucketMissing], [ErrNoJetStream], [ErrServerTooOld], and what the connection and w return.
func (b *Bucket) Dump(ctx context.Context, w io.Writer, each func(messages uint64)) (Dump, error) {
	info, err := b.bind(ctx)
	if err != nil {
		return Dump{}, fmt.Errorf("look at bucket %s: %w", b.name, err)
	}
	d := Dump{Fleet: info.Config.Metadata[fleet.MetadataFleet], Created: info.Created, Last: info.State.LastSeq}
	a, err := newArchive(w, api.StreamState{FirstSeq: info.State.FirstSeq, LastSeq: info.State.LastSeq})
	if err != nil {
		return Dump{}, fmt.Errorf("archive bucket %s: %w", b.name, err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err = b.Scan(ctx, func(m Message) {
		e := entry{
			subject: fleet.KeySubject(b.name, m.Key), sequence: m.Revision, stamp: m.Time.UnixNano(),
			header: headerBytes(m.Header), payload: m.Value,
		}
		if !e.fits(largestMessage(b.name)) {
			d.LeftOut.add(m.Key)
			return
		}
		if err := a.message(e); err != nil {
			stop(fmt.Errorf("archive bucket %s: %w", b.name, err))
			return
		}
		d.Messages++
		d.Bytes += uint64(len(e.header) + len(e.payload))
		d.Last = max(d.Last, e.sequence)
		if d.Messages%512 == 0 {
			each(d.Messages)
		}
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err == nil {
		err = a.end()
	}
	if err != nil {
		a.abandon()
		return Dump{}, err
	}
	if again, err := b.info(ctx); err != nil || !again.Created.Equal(d.Created) {
		return Dump{}, fmt.Errorf("archive bucket %s: its stream was lost or created again meanwhile: %w", b.name, errors.Join(err, ErrPassEnded))
	}
	state := api.StreamState{
		Msgs: d.Messages, Bytes: d.Bytes, FirstSeq: info.State.FirstSeq, LastSeq: d.Last,
	}
	d.Meta, err = json.MarshalIndent(dumpMeta{Config: info.Config, State: state}, "", "  ")
	each(d.Messages)
	return d, err
}

// Archived is what an archive has of a bucket.
type Archived struct {
	Messages uint64 // all
	Restored uint64 // what of them comes back: the last one under each key that is no book-keeping of a term
	LeftOut  LeftOut
}

// ReadArchive reads an archive of the bucket to its end, without a server. An error that the archive is to blame for
// wraps [ErrBadArchive].
func ReadArchive(bucket string, r io.Reader) (Archived, error) {
	c, err := readContent(bucket, r, largestMessage(bucket))
	return Archived{Messages: c.messages, Restored: uint64(len(c.last)), LeftOut: c.leftOut}, err
}

// ReadMeta returns the fleet that a bucket belonged to when it was dumped, and what about it this version needs
// otherwise and cannot change.
func ReadMeta(bucket string, meta []byte) (fleetName string, obstacles []string, err error) {
	m, err := parseMeta(bucket, meta)
	if err != nil {
		return "", nil, err
	}
	ds, err := differ(streamConfig(bucket, chosen(m.Config), 0), m.Config, nil)
	for _, d := range ds {
		if fixed(d.field) || reads(d.field) {
			obstacles = append(obstacles, d.String())
		}
	}
	return m.Config.Metadata[fleet.MetadataFleet], obstacles, err
}

func parseMeta(bucket string, meta []byte) (dumpMeta, error) {
	var m dumpMeta
	if err := json.Unmarshal(meta, &m); err != nil {
		return m, fmt.Errorf("%w: its configuration cannot be read: %w", ErrBadArchive, err)
	}
	if m.Config.Name != fleet.StreamName(bucket) {
		return m, fmt.Errorf("%w: it is of stream %q, not of bucket %s", ErrBadArchive, m.Config.Name, bucket)
	}
	return m, nil
}

// termKeys are what a restored bucket begins without: who held it, under which token, that it was whole then, and what
// a person approved then. All of it is made anew by the bucket's owner.
var termKeys = map[string]bool{fleet.KeyLease: true, fleet.KeyEpoch: true, fleet.KeySynced: true, fleet.KeyHold: true}

// content is what an archive has to restore.
type content struct {
	last     map[string]uint64 // by subject: the sequence of the message that comes back
	lasting  map[string]bool   // the subjects whose message has no TTL: it must be there after
	highest  uint64            // sequence, of all
	messages uint64            // all
	leftOut  LeftOut
}

func readContent(bucket string, r io.Reader, largest int) (content, error) {
	c := content{last: map[string]uint64{}, lasting: map[string]bool{}}
	err := readArchive(r, func(e entry) error {
		key, ok := fleet.SubjectKey(bucket, e.subject)
		if !ok {
			return fmt.Errorf("%w: %.200q is no subject of bucket %s", ErrBadArchive, e.subject, bucket)
		}
		c.messages++
		c.highest = e.sequence // they rise
		switch {
		case termKeys[key]:
		case !e.fits(largest):
			c.leftOut.add(key)
		default:
			c.last[e.subject] = e.sequence
			if delete(c.lasting, e.subject); !e.expires() {
				c.lasting[e.subject] = true
			}
		}
		return nil
	})
	return c, err
}
