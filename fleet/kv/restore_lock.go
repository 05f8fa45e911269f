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
	"github.com/nats-io/nuid"

	"harmony.dev/fleet"
)

var (
	// ErrNoPath says that a connection does not lead to all that a restore needs, in the account where the bucket is.
	ErrNoPath = errors.New("this connection cannot restore it")
	// ErrTakenOver says that the lock is another restore's by now.
	ErrTakenOver = errors.New("another restore has taken it over")

	errUnlocked = errors.New("it is open, and the lock is gone")
)

// LockedError says that another restore has begun and not ended. It runs, or was killed.
type LockedError struct {
	Bucket string
	Since  time.Time
	Open   bool // the bucket is in use: the restore has not closed it yet, or has opened it
	Intact bool // or it has its content of before, and Undo can give it back
}

// Error says since when.
func (e *LockedError) Error() string {
	state := "its content of before is gone"
	switch {
	case e.Open:
		state = "it is open"
	case e.Intact:
		state = "its content is what it was"
	}
	return fmt.Sprintf("bucket %s is being restored since %s, or that restore was killed; %s", e.Bucket, e.Since.Format(time.RFC3339), state)
}

// restoreNote is what the lock says of a restore, for whoever goes on with it.
type restoreNote struct {
	Run     string            `json:"run"`
	Began   time.Time         `json:"began"`
	Created time.Time         `json:"created,omitzero"` // of the stream that was closed: as long as it has not changed, its content is there
	Config  *api.StreamConfig `json:"config,omitempty"` // of that stream, before
	Floor   uint64            `json:"floor,omitempty"`  // sequences must begin above it

	Replicas int `json:"replicas,omitempty"` // of the lock: as many as the bucket has
}

// metadataNote is the metadata in which the lock has its note.
const metadataNote = "fleet-restore"

func newNote() restoreNote { return restoreNote{Run: nuid.Next(), Began: time.Now().UTC()} }

// remember notes a bucket that is about to be closed.
func (n *restoreNote) remember(info *api.StreamInfo) {
	cfg := info.Config
	n.Created, n.Config, n.Floor = info.Created, &cfg, max(n.Floor, info.State.LastSeq)
}

// on returns the configuration of a stream that has the note with it: of one that is closed it says what it was, should the
// lock be lost.
func (n *restoreNote) on(cfg api.StreamConfig) (api.StreamConfig, error) {
	text, err := json.Marshal(n)
	if err != nil {
		return cfg, fmt.Errorf("encode the note of a restore: %w", err)
	}
	cfg.Metadata = maps.Clone(cfg.Metadata)
	if cfg.Metadata == nil {
		cfg.Metadata = map[string]string{}
	}
	cfg.Metadata[metadataNote] = string(text)
	return cfg, nil
}

// noteOn returns the note of a stream that has one.
func noteOn(cfg api.StreamConfig) (n restoreNote, ok bool) {
	text, ok := cfg.Metadata[metadataNote]
	return n, ok && json.Unmarshal([]byte(text), &n) == nil
}

// inherit takes over what an earlier restore has noted.
func (n *restoreNote) inherit(from restoreNote) {
	n.Created, n.Config, n.Floor, n.Replicas = from.Created, from.Config, from.Floor, from.Replicas
}

// idleSubject is the lock's while it does not keep the owner out.
func idleSubject(bucket string) string { return fleet.RestoreSubject(bucket) + ".lock" }

func (r *Restore) lockName() string { return fleet.RestoreStreamName(r.bucket.name) }

func (r *Restore) lockConfig(subjects ...string) (api.StreamConfig, error) {
	return r.note.on(api.StreamConfig{
		Name:        r.lockName(),
		Description: "Harmony Fleet: bucket " + r.bucket.name + " is being restored",
		Subjects:    subjects,
		Retention:   api.LimitsPolicy, Discard: api.DiscardOld, Storage: api.FileStorage, Replicas: max(r.note.Replicas, 1),
		MaxConsumers: -1, MaxMsgs: 1, MaxMsgsPer: -1, MaxBytes: -1, MaxMsgSize: -1,
		Metadata: map[string]string{fleet.MetadataFleet: r.cfg.Metadata[fleet.MetadataFleet]},
	})
}

// setLock gives the lock other subjects, and the note as it is now.
func (r *Restore) setLock(ctx context.Context, subjects ...string) error {
	cfg, err := r.lockConfig(subjects...)
	if err != nil {
		return err
	}
	return r.update(ctx, cfg)
}

// keepOut has the lock keep the owner from creating the bucket.
func (r *Restore) keepOut(ctx context.Context) error {
	return r.setLock(ctx, fleet.KeySubject(r.bucket.name, "_restore"))
}

// readLock returns the lock's note and the server's time, [ErrBucketMissing] when there is no lock.
func (r *Restore) readLock(ctx context.Context) (note restoreNote, now time.Time, err error) {
	var resp api.JSApiStreamInfoResponse
	for range 4 { // in a cluster one that is new does not answer at once
		timed, cancel := context.WithTimeout(ctx, readTimeout)
		resp, err = call[api.JSApiStreamInfoResponse](timed, r.bucket.nc, fmt.Sprintf(api.JSApiStreamInfoT, r.lockName()), api.JSApiStreamInfoRequest{})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return note, now, fmt.Errorf("read stream %s: %w", r.lockName(), err)
	}
	if resp.StreamInfo == nil {
		return note, now, fmt.Errorf("read stream %s: the answer has none", r.lockName())
	}
	// One that says nothing was made by hand, or by an earlier version: it began, and that is all there is to know.
	note.Began = resp.Created
	_ = json.Unmarshal([]byte(resp.Config.Metadata[metadataNote]), &note)
	return note, resp.TimeStamp, nil
}

// mine returns [ErrTakenOver] when the lock is not this restore's. It is asked before every step that destroys something.
func (r *Restore) mine(ctx context.Context) (now time.Time, err error) {
	note, now, err := r.readLock(ctx)
	if errors.Is(err, ErrBucketMissing) && r.leaves {
		return now, errUnlocked
	}
	if errors.Is(err, ErrBucketMissing) || err == nil && note.Run != r.note.Run {
		return now, ErrTakenOver
	}
	return now, err
}

// unlock removes the lock of a bucket that is open. That nobody answers does not mean that it is there.
func (r *Restore) unlock(ctx context.Context) error {
	r.leaves = true
	err := removeStream(ctx, r.bucket.nc, r.lockName())
	if err == nil {
		r.locked, r.before = false, nil
	}
	return err
}

// Lock keeps other restores of the bucket away, and proves that this connection may do all that a restore needs.
// Nothing of the bucket is changed by it; a missing one cannot be created from then on. With takeOver it takes the lock
// of another restore, which must have ended.
//
// Errors: [*LockedError], [ErrNoPath], [ErrServerTooOld], and what the connection returns.
func (r *Restore) Lock(ctx context.Context, takeOver bool) error {
	if err := CheckRestore(r.bucket.nc); err != nil {
		return r.failed("restore", err)
	}
	note, _, err := r.readLock(ctx)
	switch {
	case errors.Is(err, ErrBucketMissing):
		if err = r.lockAnew(ctx); err == nil {
			err = r.recall(ctx)
		}
	case err != nil:
		err = noPath(err)
	case !takeOver:
		err = r.lockedBy(ctx, note)
	default:
		err = r.adopt(ctx, note)
	}
	return r.failed("restore", err)
}

// Restoring returns what a restore of the bucket that runs, or was killed, says of itself: nil when there is none.
func (b *Bucket) Restoring(ctx context.Context) (*LockedError, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r := Restore{bucket: b}
	note, _, err := r.readLock(ctx)
	if errors.Is(err, ErrBucketMissing) {
		return nil, nil
	}
	if err == nil {
		err = r.lockedBy(ctx, note)
	}
	if busy, ok := errors.AsType[*LockedError](err); ok {
		return busy, nil
	}
	return nil, err
}

// lockedBy returns the error for a lock that another restore has. Where the bucket cannot be looked at, nothing is said of it.
func (r *Restore) lockedBy(ctx context.Context, note restoreNote) error {
	e := &LockedError{Bucket: r.bucket.name, Since: note.Began}
	info, err := r.bucket.bind(ctx)
	if err != nil && !errors.Is(err, ErrBucketMissing) {
		return fmt.Errorf("another restore has begun at %s, and the bucket cannot be looked at: %w", note.Began.Format(time.RFC3339), err)
	}
	e.Open = info != nil && !isClosed(info.Config)
	e.Intact = intact(info, note)
	return e
}

// intact reports whether a bucket has what it had before a restore with that note. Info is nil when it is missing.
func intact(info *api.StreamInfo, note restoreNote) bool {
	switch {
	case info == nil:
		return note.Created.IsZero() && note.Run != "" // it was missing then, too
	case isClosed(info.Config):
		return info.Created.Equal(note.Created)
	}
	return true
}

// recall finds out what a bucket was that is closed and whose lock is lost: the stream itself says so, until it is replaced.
func (r *Restore) recall(ctx context.Context) error {
	info, err := r.bucket.bind(ctx)
	if errors.Is(err, ErrBucketMissing) {
		return nil
	}
	if err != nil || !isClosed(info.Config) {
		return err
	}
	note, ok := noteOn(info.Config)
	if r.begun = !ok || note.Config == nil; !r.begun {
		r.note.inherit(note)
		r.before = note.Config
	}
	return nil
}

// adopt takes over the lock of a restore that was killed.
func (r *Restore) adopt(ctx context.Context, note restoreNote) error {
	info, err := r.bucket.bind(ctx)
	if err != nil && !errors.Is(err, ErrBucketMissing) {
		return err
	}
	r.note.inherit(note)
	if note.Config != nil {
		r.cfg = successor(*note.Config)
	}
	if info == nil { // without the lock its owner would create it
		r.begun = !intact(info, note)
		r.locked = true
		return noPath(r.keepOut(ctx))
	}
	if isClosed(info.Config) {
		if r.begun = !intact(info, note); !r.begun {
			r.before = note.Config
		}
	}
	// Its stream keeps the owner away, and the path is proven once more.
	if err := removeStream(ctx, r.bucket.nc, r.lockName()); err != nil {
		return noPath(err)
	}
	if err := r.lockAnew(ctx); err != nil {
		return errors.Join(err, r.giveBackLock(ctx, note))
	}
	return nil
}

// giveBackLock makes the lock of an earlier restore again, with what it said, unless somebody has been faster.
func (r *Restore) giveBackLock(ctx context.Context, note restoreNote) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replyTimeout)
	defer cancel()
	earlier := Restore{bucket: r.bucket, cfg: r.cfg, note: note}
	cfg, err := earlier.lockConfig(idleSubject(r.bucket.name))
	if err != nil {
		return err
	}
	subject := fmt.Sprintf(api.JSApiStreamCreateT, cfg.Name)
	_, err = call[api.JSApiStreamCreateResponse](ctx, r.bucket.nc, subject, api.JSApiStreamCreateRequest{StreamConfig: cfg})
	if api.IsNatsErr(err, codeNameInUse) {
		return nil
	}
	return err
}

// lockAnew makes the lock, and proves the path.
func (r *Restore) lockAnew(ctx context.Context) error {
	switch info, err := r.bucket.bind(ctx); {
	case err == nil:
		r.note.Replicas = info.Config.Replicas
	case errors.Is(err, ErrBucketMissing):
		r.note.Replicas = r.cfg.Replicas
	default:
		return noPath(err)
	}
	cfg, err := r.lockConfig(idleSubject(r.bucket.name))
	if err != nil {
		return err
	}
	err = again(ctx, func() error {
		_, err := r.send(ctx, cfg, empty, func(int) {})
		if api.IsNatsErr(err, codeNameInUse, codeRestoreInUse) {
			if note, _, failed := r.readLock(ctx); failed == nil {
				return r.lockedBy(ctx, note)
			}
		}
		return err
	})
	if err != nil {
		return noPath(err)
	}
	r.locked = true
	err = r.sameAccount(ctx)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replyTimeout)
		defer cancel()
		err = errors.Join(err, r.unlock(ctx)) // nothing was changed
	}
	return err
}

// empty writes the archive of a stream that has nothing.
func empty(w io.Writer) error {
	a, err := newArchive(w, api.StreamState{FirstSeq: 1})
	if err != nil {
		return err
	}
	return a.end()
}

// sameAccount proves that the lock is in the account where the bucket is: there, no two streams have one subject.
func (r *Restore) sameAccount(ctx context.Context) error {
	for range restoreAttempts {
		info, err := r.bucket.bind(ctx)
		if errors.Is(err, ErrBucketMissing) {
			err = r.keepOut(ctx)
			if api.IsNatsErr(err, codeSubjectsOverlap) {
				continue // the owner was faster
			}
			if err != nil {
				return noPath(err)
			}
			return r.keepsOut(ctx)
		}
		if err != nil {
			return err
		}
		err = r.setLock(ctx, info.Config.Subjects...)
		switch {
		case api.IsNatsErr(err, codeSubjectsOverlap):
			return nil
		case err == nil:
			return fmt.Errorf("%w: stream %s would be in another account than the bucket", ErrNoPath, r.lockName())
		}
		return noPath(err)
	}
	return ErrBucketExists
}

// keepsOut proves it for a bucket that is missing, by trying to create it.
func (r *Restore) keepsOut(ctx context.Context) error {
	cfg := streamConfig(r.bucket.name, chosen(r.cfg), firstSequence(time.Now()))
	_, err := call[api.JSApiStreamCreateResponse](ctx, r.bucket.nc, fmt.Sprintf(api.JSApiStreamCreateT, cfg.Name), api.JSApiStreamCreateRequest{StreamConfig: cfg})
	switch {
	case api.IsNatsErr(err, codeSubjectsOverlap):
		return nil
	case err == nil:
		err = removeStream(ctx, r.bucket.nc, cfg.Name)
	case !api.IsNatsErr(err, codeNameInUse):
		return noPath(err)
	}
	return errors.Join(fmt.Errorf("%w: stream %s would be in another account than the bucket", ErrNoPath, r.lockName()), err)
}

// noPath says of an error that comes of missing permissions what it means: the server answers none of such requests.
func noPath(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoJetStream) {
		return fmt.Errorf("%w: it may not, or not in the account of the bucket, ask for streams FLEET_RESTORE_* or publish to $JS.SNAPSHOT.RESTORE.> (%w)", ErrNoPath, err)
	}
	return err
}
