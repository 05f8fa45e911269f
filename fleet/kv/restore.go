package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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

// restoreChunk is how much of an archive goes in one message, and restoreFinal how long the server may take once it
// has all of them.
const (
	restoreChunk = 128 << 10
	restoreFinal = 10 * time.Minute
)

// restoreAttempts is how often the server is asked to restore, and restoreAgain how long it is waited in between.
const (
	restoreAttempts = 20
	restoreAgain    = 250 * time.Millisecond
)

// Restore puts an archive in the place of a bucket, while services and devices use it:
//
//	Close   the stream's subject is changed: from then on nobody writes, and readers and owner take it for one that is
//	        configured otherwise. A stream of another name takes a subject of the bucket, so that the owner cannot create
//	        the bucket anew once it is gone.
//	Load    the stream is deleted, and restored from the archive, still under the other subject.
//	Open    the other stream goes, and the bucket has its own subject.
//
// What was closed is given back by Undo until Load began. After that, all three can be repeated, by another process
// too: whatever is there under the bucket's name is deleted and loaded again.
//
// Sequences are not those of the archive. They begin at the server's time in microseconds, as those of a new stream do,
// and not below what was there before: no token and no revision of any earlier time is ever valid, and none of what a
// holder wrote late lands. The stream's creation is new as well, so that readers know it for another. Stamps are those
// of the archive: nobody seems to have been heard of since.
type Restore struct {
	bucket *Bucket
	meta   dumpMeta
	cfg    api.StreamConfig // the bucket's own
	before *api.StreamConfig
	floor  uint64 // sequences begin above it
	begun  bool   // Load has begun
}

// NewRestore prepares the restoring of a bucket from an archive with that Meta. It does no I/O.
func NewRestore(b *Bucket, meta []byte) (*Restore, error) {
	m, err := parseMeta(b.name, meta)
	if err != nil {
		return nil, fmt.Errorf("restore bucket %s: %w", b.name, err)
	}
	return &Restore{bucket: b, meta: m, cfg: streamConfig(b.name, chosen(m.Config), 0)}, nil
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
// nothing was changed.
func (r *Restore) Close(ctx context.Context, replace bool) error {
	if err := CheckRestore(r.bucket.nc); err != nil {
		return r.failed("close", err)
	}
	for range 5 {
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
	r.before, r.cfg = &before, streamConfig(r.bucket.name, chosen(info.Config), 0)
	if len(before.Subjects) == 1 && before.Subjects[0] == fleet.RestoreSubject(r.bucket.name) {
		r.begun = true // an earlier restore has closed it, and perhaps loaded half of it: there is no way back
	} else if err := r.update(ctx, closed(before)); err != nil {
		return err
	}
	now, err := r.bucket.info(ctx) // nobody has written since
	if err != nil {
		return err
	}
	r.floor = now.State.LastSeq
	return r.keepOut(ctx)
}

// closed returns the configuration under which nobody finds the bucket's stream.
func closed(cfg api.StreamConfig) api.StreamConfig {
	cfg.Subjects = []string{fleet.RestoreSubject(cfg.Name[len(fleet.StreamName("")):])}
	cfg.RePublish = nil
	return cfg
}

// keepOut makes the stream that keeps the owner from creating the bucket.
func (r *Restore) keepOut(ctx context.Context) error {
	cfg := api.StreamConfig{
		Name:        fleet.RestoreStreamName(r.bucket.name),
		Description: "Harmony Fleet: bucket " + r.bucket.name + " is being restored",
		Subjects:    []string{fleet.KeySubject(r.bucket.name, "_restore")},
		Retention:   api.LimitsPolicy, Discard: api.DiscardOld, Storage: api.FileStorage, Replicas: 1,
		MaxConsumers: -1, MaxMsgs: 1, MaxMsgsPer: -1, MaxBytes: -1, MaxMsgSize: -1,
		Metadata: maps.Clone(r.cfg.Metadata),
	}
	subject := fmt.Sprintf(api.JSApiStreamCreateT, cfg.Name)
	_, err := call[api.JSApiStreamCreateResponse](ctx, r.bucket.nc, subject, api.JSApiStreamCreateRequest{StreamConfig: cfg})
	if err != nil && !api.IsNatsErr(err, codeNameInUse) {
		return err
	}
	return nil
}

func (r *Restore) letIn(ctx context.Context) error {
	return removeStream(ctx, r.bucket.nc, fleet.RestoreStreamName(r.bucket.name))
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

// Undo gives back what Close took, as long as Load has not begun.
func (r *Restore) Undo(ctx context.Context) error {
	if r.begun {
		return nil
	}
	err := r.letIn(ctx)
	if err == nil && r.before != nil {
		err = r.update(ctx, *r.before)
	}
	return r.failed("give back", err)
}

// Begun reports whether Load has begun: the bucket's content of before is gone.
func (r *Restore) Begun() bool { return r.begun }

// Load replaces the bucket's content by that of an archive, which open opens, twice. Each is called with how many
// bytes of it the server has. Close must have succeeded.
func (r *Restore) Load(ctx context.Context, open func() (io.ReadCloser, error), each func(bytes int)) (uint64, error) {
	last, err := r.look(open)
	if err != nil {
		return 0, r.failed("load", err)
	}
	now, err := serverTime(ctx, r.bucket.nc, fleet.RestoreStreamName(r.bucket.name))
	if err != nil {
		return 0, r.failed("load", err)
	}
	first := max(firstSequence(now), firstSequence(time.Now()), r.floor+1)
	r.begun, r.cfg.FirstSeq = true, first
	for attempt := 1; ; attempt++ {
		state, err := r.replace(ctx, open, last, each)
		var refusal api.ApiError
		if err == nil || ctx.Err() != nil || !errors.As(err, &refusal) || attempt == restoreAttempts {
			return state.Msgs, r.failed("load", err)
		}
		rest(ctx, restoreAgain) // the server may be removing the files of the stream before
	}
}

// replace makes one attempt to put the archive in the place of the stream.
func (r *Restore) replace(ctx context.Context, open func() (io.ReadCloser, error), last map[string]uint64, each func(bytes int)) (api.StreamState, error) {
	if err := removeStream(ctx, r.bucket.nc, r.cfg.Name); err != nil {
		return api.StreamState{}, err
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(r.renumber(pw, open, last, r.cfg.FirstSeq)) }()
	state, err := r.send(ctx, pr, each)
	_ = pr.CloseWithError(context.Canceled) // ends the goroutine when not all was read
	if err == nil && (state.LastSeq+1 < r.cfg.FirstSeq || state.Msgs > uint64(len(last))) {
		err = fmt.Errorf("the server restored something else: %d messages up to sequence %d", state.Msgs, state.LastSeq)
	}
	return state, err
}

// look returns what of the archive is to be restored.
func (r *Restore) look(open func() (io.ReadCloser, error)) (map[string]uint64, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return lastOfEach(r.bucket.name, f, nil)
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

// send gives an archive to the server, and waits until it is restored.
func (r *Restore) send(ctx context.Context, archive io.Reader, each func(bytes int)) (api.StreamState, error) {
	nc := r.bucket.nc
	cfg := closed(r.cfg)
	resp, err := call[api.JSApiStreamRestoreResponse](ctx, nc, fmt.Sprintf(api.JSApiStreamRestoreT, cfg.Name), api.JSApiStreamRestoreRequest{Config: cfg})
	if err != nil {
		return api.StreamState{}, err
	}
	sent := 0
	chunk := make([]byte, min(restoreChunk, int(nc.MaxPayload())))
	for {
		n, err := io.ReadFull(archive, chunk)
		if n > 0 {
			if err := sendChunk(ctx, nc, resp.DeliverSubject, chunk[:n]); err != nil {
				return api.StreamState{}, err
			}
			sent += n
			each(sent)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return api.StreamState{}, err
		}
	}
	m, err := roundTripWithin(ctx, nc, &nats.Msg{Subject: resp.DeliverSubject}, restoreFinal)
	if err != nil {
		return api.StreamState{}, err
	}
	var done api.JSApiStreamCreateResponse
	if err := json.Unmarshal(m.Data, &done); err != nil {
		return api.StreamState{}, fmt.Errorf("decode answer: %w", err)
	}
	if err := apiError(done.ToError()); err != nil || done.StreamInfo == nil {
		return api.StreamState{}, errors.Join(err, errors.New("the server did not restore the archive"))
	}
	return done.State, nil
}

// sendChunk sends a part of an archive. The server answers with nothing when it could take it.
func sendChunk(ctx context.Context, nc *nats.Conn, subject string, chunk []byte) error {
	m, err := roundTripWithin(ctx, nc, &nats.Msg{Subject: subject, Data: chunk}, restoreFinal)
	if err != nil || len(m.Data) == 0 {
		return err
	}
	var resp api.JSApiResponse
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return apiError(resp.ToError())
}

// Open gives the bucket to everybody.
func (r *Restore) Open(ctx context.Context) error {
	err := r.letIn(ctx) // nobody can create the bucket: its stream is there
	if err == nil {
		err = r.update(ctx, r.cfg)
	}
	if err != nil {
		return r.failed("open", err)
	}
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

// serverTime returns the server's clock.
func serverTime(ctx context.Context, nc *nats.Conn, stream string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := call[api.JSApiStreamInfoResponse](ctx, nc, fmt.Sprintf(api.JSApiStreamInfoT, stream), api.JSApiStreamInfoRequest{})
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the server's time: %w", err)
	}
	if resp.StreamInfo == nil {
		return time.Time{}, errors.New("ask for the server's time: no answer")
	}
	return resp.TimeStamp, nil
}
