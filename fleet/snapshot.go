package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MaxSnapshotPage is the size of the largest page of a snapshot on the wire, in bytes.
const MaxSnapshotPage = 512 << 10

// SnapshotRequest asks the reconciler's holder what a device is to run. The device is taken from the
// subject alone ([DesiredSubject]), so that permissions can hold it.
type SnapshotRequest struct {
	After  DeploymentName `json:"after,omitempty"`  // page: entries after this name
	Digest string         `json:"digest,omitempty"` // of what the agent knows, see [Digest]; first page only
}

// Snapshot is one page of the answer. The whole replaces all that the agent knows; the AsOf of the
// first page counts.
type Snapshot struct {
	AsOf      uint64          `json:"asOf"`                // sequence of desired-state up to which this holds
	Complete  bool            `json:"complete"`            // false: add and update, remove nothing
	Unchanged bool            `json:"unchanged,omitempty"` // the digest matched: Entries is empty, nothing changed
	Entries   []SnapshotEntry `json:"entries"`             // sorted by deployment
	Next      DeploymentName  `json:"next,omitempty"`      // not the last page: ask again with After = Next
}

// SnapshotEntry is one desired value of the device.
type SnapshotEntry struct {
	Deployment DeploymentName `json:"deployment"`
	Sequence   uint64         `json:"sequence"` // of the value in desired-state
	Value      []byte         `json:"value"`    // exactly the stored bytes, base64 on the wire: they are hashed
}

func digest(hashes map[DeploymentName]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(hashes)) {
		fmt.Fprintf(&b, "%s %s\n", name, hashes[name])
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}
