package kubetest

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"harmony.dev/fleet/child"
)

// Own is a server for one test alone, which may kill it, start it again, and give it back an older store.
type Own struct {
	*Server
	t       testing.TB
	binary  string
	dir     string
	port    int
	process *child.Process // nil while killed
}

// StartOwn starts a server for this test alone. It ends with the test.
func StartOwn(t testing.TB) *Own {
	t.Helper()
	KubeAPI(t) // builds the binary, or fails with the reason
	binary, err := findBinary(os.Stderr)
	if err != nil {
		t.Fatalf("find kubeapi: %v", err)
	}
	o := &Own{t: t, binary: binary, dir: t.TempDir()}
	t.Cleanup(func() {
		if o.process != nil {
			_ = o.process.Kill()
		}
	})
	o.Start()
	return o
}

// Start starts the server again, on the port and the store it had.
func (o *Own) Start() {
	o.t.Helper()
	server, process, err := run(o.binary, o.dir, o.port)
	if err != nil {
		o.t.Fatalf("start a Kubernetes API: %v", err)
	}
	o.process = process
	if o.Server != nil {
		return // clients that have the old one go on: nothing about it has changed
	}
	o.Server = server
	u, err := url.Parse(server.URL)
	if err == nil {
		o.port, err = strconv.Atoi(u.Port())
	}
	if err != nil {
		o.t.Fatalf("read the port of %s: %v", server.URL, err)
	}
}

// Kill ends the server with SIGKILL.
func (o *Own) Kill() {
	o.t.Helper()
	if err := o.process.Kill(); err != nil {
		o.t.Fatalf("kill the Kubernetes API: %v", err)
	}
	o.process = nil
}

// Backup copies the store of a server that was killed, and returns where to.
func (o *Own) Backup() string {
	o.t.Helper()
	backup := filepath.Join(o.t.TempDir(), "backup")
	o.copyStore(o.store(), backup)
	return backup
}

// Restore gives a server that was killed the store of a backup.
func (o *Own) Restore(backup string) {
	o.t.Helper()
	if err := os.RemoveAll(o.store()); err != nil {
		o.t.Fatalf("remove the store of the Kubernetes API: %v", err)
	}
	o.copyStore(backup, o.store())
}

// store is where etcd keeps what it stores. Its socket is beside that, and certificates and keys elsewhere.
func (o *Own) store() string { return filepath.Join(o.dir, "data", "etcd", "data") }

func (o *Own) copyStore(from, to string) {
	o.t.Helper()
	if o.process != nil {
		o.t.Fatal("the store of a running Kubernetes API cannot be copied: kill it first")
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		o.t.Fatalf("copy the store of the Kubernetes API: %v", fmt.Errorf("%s to %s: %w", from, to, err))
	}
}
