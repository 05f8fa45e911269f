package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// server is a child process. It holds the other end of its standard input, so it ends with the test.
type server struct {
	cmd            *exec.Cmd
	stdin          io.Closer
	stdout, stderr output
	exited         chan struct{} // closed when the process is gone; then cmd.ProcessState is set

	dataDir, kubeconfig string
	ready               readyLine // after awaitReady
}

type readyLine struct {
	Ready      bool   `json:"ready"`
	URL        string `json:"url"`
	Kubeconfig string `json:"kubeconfig"`
}

// launch starts a child on a free port, unless args name another.
func launch(dataDir string, args ...string) (*server, error) {
	s := &server{dataDir: dataDir, kubeconfig: filepath.Join(dataDir, "out", "kubeconfig"), exited: make(chan struct{})}
	s.cmd = exec.Command(binary, append([]string{
		"--data-dir", dataDir, "--port", "0", "--kubeconfig", s.kubeconfig, "--exit-with-parent",
	}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, &s.stderr
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // the state tells
	}()
	return s, nil
}

// start launches a child of this test and waits until it is ready.
func start(t *testing.T, dataDir string, args ...string) *server {
	t.Helper()
	s := begin(t, dataDir, args...)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := s.awaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// begin launches a child of this test.
func begin(t *testing.T, dataDir string, args ...string) *server {
	t.Helper()
	s, err := launch(dataDir, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
		if t.Failed() {
			t.Logf("standard error of the child:\n%s", s.stderr.String())
		}
	})
	return s
}

func (s *server) awaitReady(ctx context.Context) error {
	line, err := s.stdout.firstLine(ctx, s.exited)
	if err != nil {
		return fmt.Errorf("waiting for kubeapi to be ready: %w\n%s", err, s.stderr.String())
	}
	if err := json.Unmarshal([]byte(line), &s.ready); err != nil {
		return fmt.Errorf("reading the ready line %q: %w", line, err)
	}
	return nil
}

// awaitExit returns the exit code, -1 for a signal.
func (s *server) awaitExit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-s.exited:
	case <-time.After(within):
		t.Fatalf("the child still runs after %s", within)
	}
	return s.cmd.ProcessState.ExitCode()
}

// stop ends the child as the end of its parent would.
func (s *server) stop() error {
	_ = s.stdin.Close()
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("kubeapi had to be killed after %s", stopTimeout)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("kubeapi ended with %d:\n%s", code, s.stderr.String())
	}
	return nil
}

func (s *server) port(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(s.ready.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// restConfig is the kubeconfig's, without the client's own brake and its echo of warnings.
func (s *server) restConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

func (s *server) dynamic(t *testing.T) dynamic.Interface {
	t.Helper()
	config, err := s.restConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// viaLocalhost is a client for a child whose kubeconfig names a host that this machine does not know.
func viaLocalhost(t *testing.T, s *server) dynamic.Interface {
	t.Helper()
	config, err := s.restConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.Host = s.ready.URL
	config.ServerName = "kubeapi.alias"
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// output collects what a child writes.
type output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	written chan struct{} // closed and replaced at each write
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.written != nil {
		close(o.written)
		o.written = nil
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

var errExited = errors.New("the process ended")

func (o *output) firstLine(ctx context.Context, exited <-chan struct{}) (string, error) {
	for {
		o.mu.Lock()
		line, _, found := bytes.Cut(o.buf.Bytes(), []byte("\n"))
		if o.written == nil {
			o.written = make(chan struct{})
		}
		written := o.written
		o.mu.Unlock()
		if found {
			return string(line), nil
		}
		select {
		case <-written:
		case <-exited:
			return "", errExited
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
