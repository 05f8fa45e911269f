package kubetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"harmony.dev/fleet/child"
)

// startTimeout bounds how long the server may take until it serves.
const startTimeout = 90 * time.Second

// launch starts the server on a store of its own. progress gets what a build says.
func launch(progress io.Writer) (*Server, func() error, error) {
	binary, err := findBinary(progress)
	if err != nil {
		return nil, nil, err
	}
	sweep()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return nil, nil, fmt.Errorf("make a data directory: %w", err)
	}
	s, process, err := run(binary, dir, 0)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	// What it stores is thrown away: there is nothing to end in good order.
	return s, func() error { return errors.Join(process.Kill(), os.RemoveAll(dir)) }, nil
}

// dirPrefix begins the names of data directories: "kubetest-<pid of the test binary>-<random>".
const dirPrefix = "kubetest-"

// sweep removes the data directories of test binaries that were killed or ran into their time limit.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*-*")) // fails for a bad pattern only
	for _, dir := range dirs {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		pid, err := strconv.Atoi(owner)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // another binary may be sweeping too
		}
	}
}

// announcement is the line that the server prints when it serves.
type announcement struct {
	Ready      bool   `json:"ready"`
	URL        string `json:"url"`
	Kubeconfig string `json:"kubeconfig"`
}

// run starts the server on a port, or on a free one for 0.
func run(binary, dir string, port int) (*Server, *child.Process, error) {
	said := make(chan announcement, 1)
	log := &tail{}
	process, err := child.Start(child.Spec{
		Name: "kubeapi", Path: binary, Stderr: log,
		Args: []string{
			"--data-dir", filepath.Join(dir, "data"), "--kubeconfig", filepath.Join(dir, "kubeconfig"),
			"--port", strconv.Itoa(port), "--namespace", "fleet", "--fsync=false", "--exit-with-parent",
		},
		OnStdoutLine: func(line string) {
			var a announcement
			if json.Unmarshal([]byte(line), &a) == nil && a.Ready {
				select {
				case said <- a:
				default: // once is enough
				}
			}
		},
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	select {
	case a := <-said:
		s, err := Connect(a.URL, a.Kubeconfig)
		if err != nil {
			return nil, nil, errors.Join(err, process.Kill())
		}
		return s, process, nil
	case <-process.Done():
		return nil, nil, fmt.Errorf("%w before it served: %s", process.Err(), log)
	case <-ctx.Done():
		return nil, nil, errors.Join(fmt.Errorf("kubeapi does not serve after %s: %s", startTimeout, log), process.Kill())
	}
}

// findBinary returns bin/kubeapi of the repository, built if there is none.
func findBinary(progress io.Writer) (string, error) {
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(root, "bin", "kubeapi")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	script := filepath.Join(root, "devstack", "kubeapi", "build.sh")
	cmd := exec.Command(script, filepath.Join(root, "bin"), "kubeapi")
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build kubeapi by %s: %w", script, err)
	}
	return binary, nil
}

// repositoryRoot returns the nearest directory above the working directory that has a go.work. Tests
// run in the directory of their package.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the repository: no go.work above %s", start)
		}
	}
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text string
}

const tailSize = 4 << 10

// Write takes everything.
func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text += string(p)
	if over := len(w.text) - tailSize; over > 0 {
		w.text = w.text[over:]
	}
	return len(p), nil
}

// String returns what was kept.
func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(w.text)
}
