package acting

import (
	"context"
	"errors"
	"sync"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// Epoch is the current epoch of one sender, as the revision of `_epoch` in the bucket it leases.
type Epoch struct {
	bucket *kv.Bucket

	mu      sync.Mutex // held while reading, so that a late answer cannot replace a newer one
	current uint64
}

// NewEpoch returns the epoch of the holder of a bucket.
func NewEpoch(bucket *kv.Bucket) *Epoch { return &Epoch{bucket: bucket} }

// holds reports whether the epoch is the one that was read last.
func (e *Epoch) holds(epoch uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current == epoch
}

// verify checks the epoch that a sender claims against the last one read, and on a mismatch against the
// stream's leader.
func (e *Epoch) verify(ctx context.Context, claimed uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == claimed {
		return nil
	}
	revision, err := e.bucket.Revision(ctx, fleet.KeyEpoch)
	if errors.Is(err, kv.ErrBucketMissing) {
		return fleet.Errorf(fleet.CodeUnavailable, "EpochUnknown", "bucket %s does not exist: the sender's epoch cannot be checked", e.bucket.Name())
	}
	if err != nil {
		return fleet.Errorf(fleet.CodeUnavailable, "EpochUnknown", "the sender's epoch cannot be checked: %v", err)
	}
	e.current = revision
	if revision != claimed {
		return fleet.Errorf(fleet.CodeGone, "EpochStale", "epoch %d is not the current one of bucket %s: another replica holds the lease", claimed, e.bucket.Name())
	}
	return nil
}
