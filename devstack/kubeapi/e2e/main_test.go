// Package e2e proves what the built kubeapi promises, from outside: each test talks to a child process,
// most of them to one that they share, in a namespace of their own. The package links none of the
// server, so it builds in seconds once the binary is in build.sh's cache.
package e2e

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/klog/v2"
)

const (
	// startTimeout and goneTimeout are for a busy machine; a start takes 2 s and a namespace's end 5 s.
	startTimeout = 90 * time.Second
	goneTimeout  = 90 * time.Second
	stopTimeout  = 15 * time.Second
)

var (
	binary string  // the kubeapi under test
	shared *server // for tests that need an API and do nothing to its process
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "kubeapi-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)

	// the client complains of the server that a test kills under it
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)

	if err := readSources(".."); err != nil {
		return fail(err)
	}
	build := exec.Command("../build.sh", dir, "kubeapi")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return fail(fmt.Errorf("building kubeapi: %w", err))
	}
	binary = filepath.Join(dir, "kubeapi")

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	shared, err = launch(filepath.Join(dir, "shared"), "--fsync=false")
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err := shared.stop(); err != nil {
			code = fail(err)
		}
	}()
	if err := shared.awaitReady(ctx); err != nil {
		return fail(err)
	}
	if err := installWidgets(ctx, shared); err != nil {
		return fail(err)
	}
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// readSources shows go test what the binary is made of. Without it, a result cached for an older server
// would be taken for this one's.
func readSources(module string) error {
	return filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			_, err = os.ReadFile(path)
		}
		return err
	})
}
