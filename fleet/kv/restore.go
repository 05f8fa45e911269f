package kv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
)

// ErrBucketExists says that a bucket is there, and would be replaced.
var ErrBucketExists = errors.New("the bucket exists")

// restoreMajor and restoreMinor are the oldest server that restores an archive.
const (
	restoreMajor = 2
	restoreMinor = 15
)

// restoreAttempts is how often the server is asked to restore, and restoreAgain how long it is waited in between.
const (
	restoreAttempts = 20
	restoreAgain    = 250 * time.Millisecond
)

// Restore puts an archive in the place of a bucket, while services and devices use it:
//
//	Lock    a stream of another name is made, exclusively: it keeps other restores away, and has in it what the bucket
//	        was. It is restored from an empty archive, and its subject compared with the bucket's, so that it is proven
//	        that this connection may do all that follows, in the account where the bucket is.
//	Close   the bucket's stream gets another subject: from then on nobody writes, and readers and owner take it for one
//	        that is configured otherwise. The lock takes a subject of the bucket, so that the owner cannot create the
//	        bucket anew once it is gone.
//	Load    the stream is deleted, and restored from the archive, still under the other subject.
//	Open    the bucket has its own subject, and the lock goes.
//
// What was closed is given back by Undo until Load began. After that, all can be repeated, by another process too, which
// takes the lock over: whatever is there under the bucket's name is deleted and loaded again.
//
// Sequences are not those of the archive. They begin at the server's time in microseconds, as those of a new stream do,
// and below neither what was there before nor the archive's own: no token and no revision of any earlier time is ever
// valid, and none of what a holder wrote late lands. The stream's creation is new as well, so that readers know it for
// another. Stamps are those of the archive: nobody seems to have been heard of since.
type Restore struct {
	bucket *Bucket
	meta   dumpMeta
	at     time.Time         // of the backup
	cfg    api.StreamConfig  // the bucket's own
	before *api.StreamConfig // what Undo gives back: Close has changed it
	note   restoreNote
	floor  uint64 // sequences begin above it
	locked bool   // the lock is, or was, ours
	begun  bool   // Load has begun, here or in an earlier restore
	leaves bool   // the bucket is open, and the lock was asked to go
	opened bool
}

// NewRestore prepares the restoring of a bucket from an archive with that Meta, of a backup of that time. It does no I/O.
func NewRestore(b *Bucket, meta []byte, at time.Time) (*Restore, error) {
	m, err := parseMeta(b.name, meta)
	if err != nil {
		return nil, fmt.Errorf("restore bucket %s: %w", b.name, err)
	}
	return &Restore{bucket: b, meta: m, at: at, cfg: streamConfig(b.name, chosen(m.Config), 0), note: newNote()}, nil
}

// CheckRestore returns [ErrServerTooOld] when the server cannot restore archives.
func CheckRestore(nc *nats.Conn) error {
	version := nc.ConnectedServerVersion()
	major, minor, ok := parseVersion(version)
	if ok && (major < restoreMajor || major == restoreMajor && minor < restoreMinor) {
		return fmt.Errorf("%w: it is %s, %d.%d or newer is needed to restore", ErrServerTooOld, version, restoreMajor, restoreMinor)
	}
	return nil
}

// Close takes the bucket from everybody. It returns [ErrBucketExists] when there is one and replace is false: then
// nothing was changed. Lock must have succeeded.
func (r *Restore) Close(ctx context.Context, replace bool) error {
	for range restoreAttempts {
		if _, err := r.mine(ctx); err != nil {
			return r.failed("close", err)
		}
		info, err := r.bucket.bind(ctx)
		switch {
		case errors.Is(err, ErrBucketMissing):
			err = r.keepOut(ctx)
			if api.IsNatsErr(err, codeSubjectsOverlap) {
				continue // the owner was faster
			}
			return r.failed("close", err)
		case err != nil:
			return r.failed("close", err)
		case !replace:
			return r.failed("close", ErrBucketExists)
		}
		return r.failed("close", r.take(ctx, info))
	}
	return r.failed("close", fmt.Errorf("%w, and did not a moment before", ErrBucketExists))
}

// take closes a bucket that is there.
func (r *Restore) take(ctx context.Context, info *api.StreamInfo) error {
	before := info.Config
	r.cfg = successor(before)
	if isClosed(before) {
		r.begun = r.begun || r.before == nil // an earlier restore may have loaded half of it: there is no way back
	} else {
		r.note.remember(info)
		if err := r.setLock(ctx, idleSubject(r.bucket.name)); err != nil { // before anything is changed
			return err
		}
		r.before = &before
		shut, err := r.note.on(closed(before))
		if err == nil {
			err = r.update(ctx, shut)
		}
		if err != nil {
			return err
		}
		if _, _, err := r.readLock(ctx); errors.Is(err, ErrBucketMissing) { // another gave the bucket back just before
			return errors.Join(ErrTakenOver, r.update(ctx, before))
		}
	}
	now, err := r.bucket.info(ctx) // nobody has written since
	if err != nil {
		return err
	}
	r.floor = max(r.floor, now.State.LastSeq)
	return r.keepOut(ctx)
}

// successor returns the configuration of the bucket that takes the place of one with this: what an operator has chosen stays.
func successor(before api.StreamConfig) api.StreamConfig {
	cfg := streamConfig(bucketOf(before), chosen(before), 0)
	cfg.Description, cfg.Placement, cfg.Compression, cfg.ConsumerLimits = before.Description, before.Placement, before.Compression, before.ConsumerLimits
	for name, value := range before.Metadata {
		if _, ours := cfg.Metadata[name]; !ours && !strings.HasPrefix(name, "fleet-") && !strings.HasPrefix(name, "_nats.") {
			cfg.Metadata[name] = value
		}
	}
	return cfg
}

func bucketOf(cfg api.StreamConfig) string { return cfg.Name[len(fleet.StreamName("")):] }

// closed returns the configuration under which nobody finds the bucket's stream.
func closed(cfg api.StreamConfig) api.StreamConfig {
	cfg.Subjects = []string{fleet.RestoreSubject(bucketOf(cfg))}
	cfg.RePublish = nil
	return cfg
}

func isClosed(cfg api.StreamConfig) bool {
	return len(cfg.Subjects) == 1 && cfg.Subjects[0] == closed(cfg).Subjects[0]
}

func removeStream(ctx context.Context, nc *nats.Conn, name string) error {
	_, err := call[api.JSApiStreamDeleteResponse](ctx, nc, fmt.Sprintf(api.JSApiStreamDeleteT, name), struct{}{})
	if errors.Is(err, ErrBucketMissing) {
		return nil
	}
	return err
}

func (r *Restore) update(ctx context.Context, cfg api.StreamConfig) error {
	_, err := call[api.JSApiStreamCreateResponse](ctx, r.bucket.nc, fmt.Sprintf(api.JSApiStreamUpdateT, cfg.Name), cfg)
	return err
}

// Undo gives back what Close took, or an earlier restore whose lock this one has taken over, as long as Load has not
// begun. What this restore has not locked it does not touch.
func (r *Restore) Undo(ctx context.Context) error {
	if r.begun || !r.locked {
		return nil
	}
	switch _, err := r.mine(ctx); {
	case errors.Is(err, errUnlocked):
		return nil
	case err != nil:
		return r.failed("give back", err)
	}
	if r.before != nil {
		err := r.setLock(ctx, idleSubject(r.bucket.name))
		if err == nil {
			err = r.update(ctx, *r.before)
		}
		if err != nil {
			return r.failed("give back", err)
		}
	}
	return r.failed("give back", r.unlock(ctx))
}

// Release removes the lock, and leaves the bucket as it is.
func (r *Restore) Release(ctx context.Context) error {
	if !r.locked {
		return nil
	}
	_, err := r.mine(ctx)
	if err == nil {
		err = r.unlock(ctx)
	}
	if errors.Is(err, errUnlocked) {
		return nil
	}
	return r.failed("unlock", err)
}

// Held reports whether this restore has, or had, the bucket's lock.
func (r *Restore) Held() bool { return r.locked }

// Shut reports whether the bucket may be closed, by this restore or by the one whose lock it has taken over.
func (r *Restore) Shut() bool { return r.begun || r.before != nil }

// Mine returns [ErrTakenOver] when another restore has taken the lock over.
func (r *Restore) Mine(ctx context.Context) error {
	_, err := r.mine(ctx)
	return err
}

// Begun reports whether Load has begun, here or in an earlier restore: the bucket's content of before is gone.
func (r *Restore) Begun() bool { return r.begun }

// Load replaces the bucket's content by that of an archive, which open opens, twice. Each is called with how many
// bytes of it the server has. Close must have succeeded.
func (r *Restore) Load(ctx context.Context, open func() (io.ReadCloser, error), each func(bytes int)) (uint64, error) {
	c, err := r.look(open)
	if err != nil {
		return 0, r.failed("load", err)
	}
	now, err := r.mine(ctx)
	if err != nil {
		return 0, r.failed("load", err)
	}
	r.floor = max(r.floor, r.note.Floor, r.meta.State.LastSeq, c.highest)
	first := max(firstSequence(now), firstSequence(time.Now()), r.floor+1)
	r.cfg.FirstSeq, r.note.Floor = first, first+uint64(len(c.last))
	r.cfg.Metadata = maps.Clone(r.cfg.Metadata)
	r.cfg.Metadata[fleet.MetadataRestored] = strconv.FormatUint(first+uint64(len(c.last))-1, 10)
	r.cfg.Metadata[fleet.MetadataBackup] = r.at.UTC().Format(time.RFC3339)
	if err := r.keepOut(ctx); err != nil { // whoever goes on must begin above that
		return 0, r.failed("load", err)
	}
	var state api.StreamState
	err = again(ctx, func() error {
		state, err = r.replace(ctx, open, c, each)
		return err
	})
	return state.Msgs, r.failed("load", err)
}

// again repeats what the server refuses while it is removing the files of the stream before.
func again(ctx context.Context, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || ctx.Err() != nil || !passing(err) || attempt == restoreAttempts {
			return err
		}
		rest(ctx, restoreAgain)
	}
}

// replace makes one attempt to put the archive in the place of the stream.
func (r *Restore) replace(ctx context.Context, open func() (io.ReadCloser, error), c content, each func(bytes int)) (api.StreamState, error) {
	if _, err := r.mine(ctx); err != nil {
		return api.StreamState{}, err
	}
	r.begun = true
	if err := removeStream(ctx, r.bucket.nc, r.cfg.Name); err != nil {
		return api.StreamState{}, err
	}
	state, err := r.send(ctx, closed(r.cfg), func(w io.Writer) error { return r.renumber(w, open, c.last, r.cfg.FirstSeq) }, each)
	if err == nil && (state.LastSeq+1 < r.cfg.FirstSeq || state.Msgs > uint64(len(c.last)) || state.Msgs < uint64(len(c.lasting))) {
		err = fmt.Errorf("the server restored something else: %d messages up to sequence %d, where the archive has %d, of which %d do not expire",
			state.Msgs, state.LastSeq, len(c.last), len(c.lasting))
	}
	return state, err
}

// look returns what of the archive is to be restored.
func (r *Restore) look(open func() (io.ReadCloser, error)) (content, error) {
	f, err := open()
	if err != nil {
		return content{}, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return readContent(r.bucket.name, f, min(largestMessage(r.bucket.name), int(r.bucket.nc.MaxPayload())))
}

// renumber writes the archive that the server gets: only the last message of each subject, from another first sequence.
func (r *Restore) renumber(w io.Writer, open func() (io.ReadCloser, error), last map[string]uint64, first uint64) error {
	f, err := open()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	n := uint64(len(last))
	a, err := newArchive(w, api.StreamState{Msgs: n, FirstSeq: first, LastSeq: first + n - 1})
	if err != nil {
		return err
	}
	next := first
	err = readArchive(f, func(e entry) error {
		if last[e.subject] != e.sequence {
			return nil
		}
		e.sequence = next
		next++
		return a.message(e)
	})
	if err != nil {
		a.abandon()
		return err
	}
	return a.end()
}

// Open gives the bucket to everybody. It may be called again.
func (r *Restore) Open(ctx context.Context) error {
	if r.opened {
		return nil
	}
	_, err := r.mine(ctx)
	if err == nil {
		err = r.setLock(ctx, idleSubject(r.bucket.name)) // nobody can create the bucket: its stream is there
	}
	if err == nil {
		err = r.update(ctx, r.cfg)
	}
	if err == nil {
		err = r.unlock(ctx)
	}
	if err != nil && !errors.Is(err, errUnlocked) {
		return r.failed("open", err)
	}
	r.opened = true
	info, err := r.bucket.info(ctx)
	if err != nil {
		return r.failed("open", err)
	}
	diffs, err := differences(streamConfig(r.bucket.name, chosen(info.Config), 0), info.Config, nil)
	if err == nil && len(diffs) > 0 {
		err = &ConfigError{Bucket: r.bucket.name, Differences: diffs}
	}
	return r.failed("open", err)
}

func (r *Restore) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s bucket %s: %w", what, r.bucket.name, err)
}
