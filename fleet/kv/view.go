package kv

import "time"

// View receives a bucket, from the reflector's single goroutine, in stream order. It locks what it owns.
type View interface {
	// Begin says that a pass starts: what is in view may be old, and nothing derived from it may be
	// written until Synced.
	Begin(Pass)
	// Apply brings every message, also delete, purge and expired markers and reserved keys, during the
	// pass and in the tail after it, and among them what was swept.
	Apply(Message)
	// Synced says that everything up to Pass.Barrier is applied and that what is gone was swept.
	Synced(Pass)
	// Lost says that the pass ended, and why.
	Lost(error)
}

// Pass is one reading of a bucket from the beginning.
type Pass struct {
	Number         uint64    // 1, 2, … in the life of the reflector
	Created        time.Time // of the stream
	Barrier        uint64    // the stream's last sequence when the pass had its consumer
	NewIncarnation bool      // the stream is not the one of the last pass: revisions are not comparable
	Restored       uint64    // up to this sequence all came with a backup, and may have been changed before it was restored
}
