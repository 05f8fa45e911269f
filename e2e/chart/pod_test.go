package chart

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet/fleettest"
)

// accountDir is where a pod finds the token of its account.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// podUser is the user of the images.
const podUser = 65532

// TestPatcher_FindsTheAccountOfItsPod runs the patcher with no more than its container has: a root with the static binary,
// the volume with the contexts and the token, the user of the images, the rendered environment and what the kubelet adds.
// It is told nothing of how to reach the API.
func TestPatcher_FindsTheAccountOfItsPod(t *testing.T) {
	s := lab.New(t, lab.Options{Shipped: true})
	all := release{"harmony-fleet", s.Fleet}.render(t, "--set", "nats.url="+s.NATS.URL())
	grant(t, s.Kube, all.of("patcher"))
	cfg := account(t, s.Kube, s.Fleet, "harmony-fleet-patcher")

	root := t.TempDir()
	write(t, root+accountDir+"/token", cfg.BearerToken)
	write(t, root+accountDir+"/ca.crt", authority(t, cfg.CAFile, cfg.CAData))
	write(t, root+accountDir+"/namespace", s.Fleet)
	move(t, mount(t, all, "patcher", nil), root+natsDir)
	r := &running{t: t, service: "patcher", log: &fleettest.Buffer{}, address: root + "/tmp/http"}
	write(t, r.address+".none", "")
	if err := os.Link(filepath.Join(lab.BinDir(t), "fleet-patcher"), root+"/fleet-patcher"); err != nil {
		write(t, root+"/fleet-patcher", read(t, filepath.Join(lab.BinDir(t), "fleet-patcher")))
		if err := os.Chmod(root+"/fleet-patcher", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	api, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"KUBERNETES_SERVICE_HOST=" + api.Hostname(), "KUBERNETES_SERVICE_PORT=" + api.Port()}
	vars := env(podsOf(t, all)["patcher"].Spec.Containers[0])
	vars["FLEET_HTTP_LISTEN"], vars["FLEET_HTTP_ADDRESS_FILE"], vars["FLEET_EXIT_WITH_PARENT"] = "127.0.0.1:0", "/tmp/http", "true"
	for name, value := range vars {
		environ = append(environ, name+"="+value)
	}
	contain(t, root, r, environ)
	s.Eventually(soon, "the patcher is ready", func(context.Context) error {
		if err := r.ready(); err != nil {
			return errors.New(err.Error() + "\n" + r.log.String())
		}
		return nil
	})
}

// contain runs a program in a root of its own, by the user of the images.
func contain(t *testing.T, root string, r *running, environ []string) {
	t.Helper()
	attributes := &syscall.SysProcAttr{Chroot: root}
	if os.Geteuid() == 0 {
		attributes.Credential = &syscall.Credential{Uid: podUser, Gid: podUser}
		give(t, root)
	} else { // who may not become another user is that user in a namespace
		attributes.Cloneflags = syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: podUser, HostID: os.Geteuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: podUser, HostID: os.Getegid(), Size: 1}}
	}
	cmd := &exec.Cmd{Path: "/fleet-patcher", Args: []string{"/fleet-patcher"}, Dir: "/", Env: environ, Stdout: r.log, Stderr: r.log, SysProcAttr: attributes}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the patcher in a root of its own: %v", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // which ends it
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the patcher ended: %v\n%s", err, r.log)
		}
	})
}

// give makes files those of the images' user, all but the program, which is another name of that in bin.
func give(t *testing.T, root string) {
	t.Helper()
	if err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == root+"/fleet-patcher" {
			return err
		}
		return os.Lchown(path, podUser, podUser)
	}); err != nil {
		t.Fatal(err)
	}
}

// move puts a laid out volume where a pod has it, and has its contexts name the files there again.
func move(t *testing.T, from, to string) {
	t.Helper()
	for name := range names(t, from) {
		write(t, filepath.Join(to, name), strings.ReplaceAll(read(t, filepath.Join(from, name)), from, natsDir))
	}
}

func authority(t *testing.T, file string, data []byte) string {
	t.Helper()
	if len(data) > 0 {
		return string(data)
	}
	return read(t, file)
}
