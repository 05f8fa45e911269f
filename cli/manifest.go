package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// The files of a backup. Those of a bucket are in a folder of its name.
const (
	manifestFile = "manifest.json"
	archiveFile  = "stream.arc.s2"
	metaFile     = "backup.json"
)

// manifestFormat is what this version writes and reads.
const manifestFormat = 1

// manifest says what a backup is. It is written last: without it a folder is no backup.
type manifest struct {
	Format   int            `json:"format"`
	Fleet    string         `json:"fleet"`
	At       time.Time      `json:"at"`      // when the first bucket was begun, by this machine's clock
	Version  string         `json:"version"` // of this program
	Server   string         `json:"server"`  // version of the NATS server
	Buckets  []bucketBackup `json:"buckets"` // in the order in which they were read
	Checksum string         `json:"checksum"`
}

// bucketBackup is one bucket in a backup.
type bucketBackup struct {
	Bucket       string    `json:"bucket"`
	Messages     uint64    `json:"messages"`          // last messages of keys, markers too
	Bytes        uint64    `json:"bytes"`             // of values and headers
	LeftOut      uint64    `json:"leftOut,omitempty"` // that no server would take back
	LastSequence uint64    `json:"lastSequence"`
	Created      time.Time `json:"created"` // of the stream
	Began        time.Time `json:"began"`   // of reading it
	Ended        time.Time `json:"ended"`
	Archive      fileSum   `json:"archive"`
	Meta         fileSum   `json:"meta"`
}

// fileSum is what a file must be.
type fileSum struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// sum returns the checksum of all other fields.
func (m manifest) sum() (string, error) {
	m.Checksum = ""
	doc, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode the manifest: %w", err)
	}
	sum := sha256.Sum256(doc)
	return hex.EncodeToString(sum[:]), nil
}

func (m manifest) find(bucket string) (bucketBackup, bool) {
	i := slices.IndexFunc(m.Buckets, func(b bucketBackup) bool { return b.Bucket == bucket })
	if i < 0 {
		return bucketBackup{}, false
	}
	return m.Buckets[i], true
}

func (m manifest) names() []string {
	var names []string
	for _, b := range m.Buckets {
		names = append(names, b.Bucket)
	}
	return names
}

// errNoBackup says that a folder has no backup in it.
var errNoBackup = errors.New("there is no whole backup")

// readManifest reads and checks the manifest of a backup, without its files.
func readManifest(dir string) (manifest, error) {
	var m manifest
	doc, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("%w in %s: it has no %s, which is written last", errNoBackup, dir, manifestFile)
	}
	if err != nil {
		return m, fmt.Errorf("read the backup: %w", err)
	}
	if err := json.Unmarshal(doc, &m); err != nil {
		return m, fmt.Errorf("%s of %s is damaged: %w", manifestFile, dir, err)
	}
	if m.Format != manifestFormat {
		return m, fmt.Errorf("the backup in %s is of format %d, this version reads %d: use the version that wrote it (%.50q)", dir, m.Format, manifestFormat, m.Version)
	}
	sum, err := m.sum()
	if err != nil {
		return m, err
	}
	if sum != m.Checksum {
		return m, fmt.Errorf("%s of %s is damaged: its checksum is not that of its content", manifestFile, dir)
	}
	return m, nil
}

// verifyBucket reads the files of a bucket to their end, and returns what the archive has. It finds every difference from
// what the manifest says.
func verifyBucket(dir string, m manifest, b bucketBackup) (kv.Archived, error) {
	meta, err := verifiedMeta(dir, b)
	if err != nil {
		return kv.Archived{}, err
	}
	of, obstacles, err := kv.ReadMeta(b.Bucket, meta)
	switch {
	case err != nil:
		return kv.Archived{}, fmt.Errorf("%s of the backup: %w", b.Bucket, err)
	case of != m.Fleet:
		return kv.Archived{}, fmt.Errorf("%s of the backup is of fleet %q, the manifest says %q", b.Bucket, of, m.Fleet)
	case len(obstacles) > 0:
		return kv.Archived{}, fmt.Errorf("%s of the backup was configured in a way that this version cannot use: %s", b.Bucket, strings.Join(obstacles, "; "))
	}
	path := filepath.Join(dir, b.Bucket, archiveFile)
	if err := verifyFile(path, b.Archive); err != nil {
		return kv.Archived{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return kv.Archived{}, fmt.Errorf("read the backup: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	a, err := kv.ReadArchive(b.Bucket, f)
	if err != nil {
		return a, fmt.Errorf("read %s: %w", path, err)
	}
	if a.Messages != b.Messages {
		return a, fmt.Errorf("%s is damaged: it has %d messages, the manifest says %d", path, a.Messages, b.Messages)
	}
	return a, nil
}

func verifiedMeta(dir string, b bucketBackup) ([]byte, error) {
	path := filepath.Join(dir, b.Bucket, metaFile)
	if err := verifyFile(path, b.Meta); err != nil {
		return nil, err
	}
	meta, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the backup: %w", err)
	}
	return meta, nil
}

func verifyFile(path string, want fileSum) error {
	got, err := sumFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s is missing: the backup is not whole", path)
	case err != nil:
		return err
	case got != want:
		return fmt.Errorf("%s is damaged: it is not the file that was written (%d bytes, sha256 %.12s; the manifest says %d, %.12s)", path, got.Size, got.SHA256, want.Size, want.SHA256)
	}
	return nil
}

func sumFile(path string) (fileSum, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileSum{}, fmt.Errorf("read the backup: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return fileSum{}, fmt.Errorf("read %s: %w", path, err)
	}
	return fileSum{Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// kept are the buckets that are backed up, in the order in which they are read: what is upstream last. So what is
// restored of the wishes is never older than what was made of them. The bucket of leases has nothing but a lease.
var kept = []string{
	fleet.BucketDeviceHeartbeat, fleet.BucketDeviceState, fleet.BucketDeviceInfo, fleet.BucketDesiredState, fleet.BucketResources,
}

// chosenBuckets checks the names that --bucket gave, and returns all of them for none.
func chosenBuckets(named, all []string) ([]string, error) {
	for _, name := range named {
		switch near := nearest(name, all); {
		case name == fleet.BucketLeases:
			return nil, usagef("--bucket %s: it has nothing but a lease, which is taken anew", name)
		case slices.Contains(all, name):
		case near != "":
			return nil, usagef("unknown bucket %q: did you mean %q?", name, near)
		default:
			return nil, usagef("unknown bucket %q: choose from %s", name, strings.Join(all, ", "))
		}
	}
	if len(named) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(b string) bool { return !slices.Contains(named, b) }), nil
}
