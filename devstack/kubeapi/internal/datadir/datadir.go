// Package datadir owns the data directory: it exists, only its user can read it, and one process at a
// time holds it. The lock goes with the process, however it ends.
package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrInUse means that another process holds the directory.
var ErrInUse = errors.New("data directory is in use")

// retryInterval is how often a held lock is tried again.
const retryInterval = 20 * time.Millisecond

// Dir is a held data directory.
type Dir struct {
	path string
	lock *os.File
}

// Open creates the directory where it is missing and takes it, waiting up to patience for a process
// that holds it to end. It returns ErrInUse after that.
func Open(ctx context.Context, path string, patience time.Duration) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("creating the data directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the data directory: %w", err)
	}
	if err := acquire(ctx, file, patience); err != nil {
		holder := holderOf(file)
		_ = file.Close()
		return nil, fmt.Errorf("taking %s%s: stop that process, or choose another directory with --data-dir: %w", path, holder, err)
	}
	// for the next process's error message only
	if err := file.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(io.NewOffsetWriter(file, 0), "%d\n", os.Getpid())
	}
	return &Dir{path: path, lock: file}, nil
}

// Path is the directory.
func (d *Dir) Path() string { return d.path }

// Close gives the directory up.
func (d *Dir) Close() { _ = d.lock.Close() }

func acquire(ctx context.Context, file *os.File, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	retry := time.NewTicker(retryInterval)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ErrInUse
		case <-retry.C:
		}
	}
}

func holderOf(file *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(file, 0, 32))
	pid := strings.TrimSpace(string(text))
	if err != nil || pid == "" {
		return ""
	}
	return " from process " + pid
}
