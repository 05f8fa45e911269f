package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// ownK3s is the project's Kubernetes API in the hands of one test: tests on containers take turns.
type ownK3s struct {
	t       testing.TB
	project *Project
	killed  bool
}

// revive starts one that a test which failed has left killed.
func (k *ownK3s) revive() {
	if k.killed {
		k.Start()
	}
}

// Kill implements [OwnKube]: everything in the container ends with its main process.
func (k *ownK3s) Kill() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	k.killed = true
	_, err := docker(ctx, "update", "--restart=no", k.project.k3s) // else the engine starts it at once
	if err == nil {
		var c *container
		if c, err = attach(k.project.k3s, func() {}); err == nil {
			err = c.Kill()
		}
	}
	if err != nil {
		k.t.Fatalf("kill k3s: %v", err)
	}
}

// Start implements [OwnKube], and waits until it serves as that of processes does: until readyz says so.
func (k *ownK3s) Start() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	_, err := docker(ctx, "start", k.project.k3s)
	if err == nil {
		_, err = docker(ctx, "update", "--restart=unless-stopped", k.project.k3s) // as it was
	}
	if err == nil {
		err = k.ready(ctx)
	}
	if err != nil {
		k.t.Fatalf("start k3s: %v", err)
	}
	k.killed = false
}

func (k *ownK3s) ready(ctx context.Context) error {
	client, err := rest.HTTPClientFor(k.project.kube.Config)
	if err != nil {
		return err
	}
	for {
		err := asks(ctx, client, k.project.kube.Config.Host+"/readyz")
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// asks returns nil when a GET is answered with 200.
func asks(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("%s: %s", url, resp.Status))
	}
	return nil
}

// Backup implements [OwnKube].
func (k *ownK3s) Backup() string {
	k.t.Helper()
	backup := filepath.Join(k.t.TempDir(), "backup")
	k.must(os.CopyFS(backup, os.DirFS(k.store())))
	return backup
}

// Restore implements [OwnKube].
func (k *ownK3s) Restore(backup string) {
	k.t.Helper()
	store := k.store()
	k.must(os.RemoveAll(store))
	k.must(os.CopyFS(store, os.DirFS(backup)))
}

// store is where the API stores what it knows: etcd of the stand-in, or the database of k3s.
func (k *ownK3s) store() string {
	k.t.Helper()
	root, err := k.project.volume(context.Background(), "k3s")
	k.must(err)
	for _, dir := range []string{"server/etcd/data", "server/db"} {
		if _, err := os.Stat(filepath.Join(root, dir)); err == nil {
			return filepath.Join(root, dir)
		}
	}
	k.must(fmt.Errorf("no store in %s", root))
	return ""
}

func (k *ownK3s) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatalf("the store of k3s: %v", err)
	}
}
