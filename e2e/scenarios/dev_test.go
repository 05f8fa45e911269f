package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/service"
)

// devStack is "fleet dev" as a person starts it, on ports of its own.
type devStack struct {
	t     *testing.T
	dir   string
	ports map[string]string // flag to number
	bin   string
	cmd   *exec.Cmd
	out   *fleettest.Buffer
	done  chan error
}

func newDevStack(t *testing.T) *devStack {
	d := &devStack{t: t, dir: t.TempDir(), bin: lab.BinDir(t), ports: map[string]string{}}
	for _, flag := range []string{"nats-port", "kube-port", "patcher-port", "reconciler-port", "aggregator-port", "dashboard-port"} {
		d.ports[flag] = strconv.Itoa(lab.FreePort(t))
	}
	return d
}

func (d *devStack) args() []string {
	args := []string{"dev", "--devices", "8"}
	for flag, port := range d.ports {
		args = append(args, "--"+flag, port)
	}
	return args
}

// start runs it and waits until it says that it runs.
func (d *devStack) start() {
	d.t.Helper()
	d.out = &fleettest.Buffer{}
	d.cmd = exec.Command(filepath.Join(d.bin, "fleet"), d.args()...)
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = d.dir, d.out, d.out
	if err := d.cmd.Start(); err != nil {
		d.t.Fatalf("start fleet dev: %v", err)
	}
	d.done = make(chan error, 1)
	go func() { d.done <- d.cmd.Wait() }()
	d.t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	deadline := time.After(90 * time.Second)
	for !strings.Contains(d.out.String(), "Harmony Fleet runs") {
		select {
		case err := <-d.done:
			d.t.Fatalf("fleet dev ended: %v\n%s", err, d.out)
		case <-deadline:
			d.t.Fatalf("fleet dev is not up:\n%s", d.out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// end signals the process and waits until nothing of the stack listens any more.
func (d *devStack) end(sig os.Signal) error {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatalf("signal fleet dev: %v", err)
	}
	var err error
	select {
	case err = <-d.done:
	case <-time.After(60 * time.Second):
		d.t.Fatalf("fleet dev did not end:\n%s", d.out)
	}
	deadline := time.Now().Add(30 * time.Second)
	for flag, port := range d.ports {
		for listening(port) {
			if time.Now().After(deadline) {
				d.t.Fatalf("something still listens at --%s %s", flag, port)
			}
			<-time.After(50 * time.Millisecond)
		}
	}
	return err
}

func listening(port string) bool {
	c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", port), time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func (d *devStack) run(name string, args ...string) string {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), filepath.Join(d.bin, name), args...)
	cmd.Dir = d.dir
	cmd.Env = append(service.WithoutSettings(os.Environ()), "KUBECONFIG="+filepath.Join(d.dir, ".dev", "kubeconfig"), "HOME="+d.dir, "XDG_CONFIG_HOME="+d.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// picture is what must outlast a SIGKILL of everything: versions and statuses of all resources, and
// the desired keys with their revisions.
func (d *devStack) picture() map[string]string {
	d.t.Helper()
	var list struct {
		Items []struct {
			Kind     string
			Metadata struct{ Name, ResourceVersion string }
			Status   json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(d.run("kubectl", "get", "fdep,fdev", "-o", "json")), &list); err != nil {
		d.t.Fatalf("parse kubectl's output: %v", err)
	}
	out := map[string]string{}
	for _, i := range list.Items {
		out[i.Kind+"/"+i.Metadata.Name] = i.Metadata.ResourceVersion + " " + string(i.Status)
	}
	nc, err := nats.Connect("nats://127.0.0.1:" + d.ports["nats-port"])
	if err != nil {
		d.t.Fatalf("connect: %v", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		d.t.Fatal(err)
	}
	bucket, err := js.KeyValue(d.t.Context(), fleet.BucketDesiredState)
	if err != nil {
		d.t.Fatal(err)
	}
	keys, err := bucket.Keys(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, key := range keys {
		if fleet.IsReserved(key) {
			continue
		}
		e, err := bucket.Get(d.t.Context(), key)
		if err != nil {
			d.t.Fatal(err)
		}
		out["key/"+key] = fmt.Sprint(e.Revision())
	}
	return out
}

// TestDev_OutlastsSIGKILL runs the development stack, kills it, starts it again, and stops it: the
// status bytes, resource versions and desired keys must be the same, and nothing may be left behind.
func TestDev_OutlastsSIGKILL(t *testing.T) {
	t.Parallel()
	d := newDevStack(t)
	d.start()
	manifest := filepath.Join(d.dir, "hello.yaml")
	if err := os.WriteFile(manifest, []byte(northManifest), 0o600); err != nil {
		t.Fatal(err)
	}
	d.run("kubectl", "apply", "-f", manifest)
	d.run("kubectl", "wait", "--for=condition=Ready", "--timeout=20s", "fdep/hello")
	if err := contains(d.run("fleet", "get", "deployments"), "hello 2 2 0 0 0 True"); err != nil {
		t.Error(err)
	}
	d.run("fleet", "status")
	before := d.quiet()
	if before["key/dev-0001.hello"] == "" {
		t.Fatalf("no key dev-0001.hello: %v", before)
	}

	_ = d.end(syscall.SIGKILL)
	d.start()
	d.run("kubectl", "wait", "--for=condition=Ready", "--timeout=20s", "fdep/hello")
	if diff := lab.Changed("", before, d.quiet()); len(diff) > 0 {
		t.Errorf("the restart changed something: %q", diff)
	}

	second := exec.CommandContext(t.Context(), filepath.Join(d.bin, "fleet"), append(d.args(), "--dir", t.TempDir())...)
	second.Dir = d.dir
	out, err := second.CombinedOutput()
	if err == nil || contains(string(out), "in use") != nil || contains(string(out), "--nats-port") != nil {
		t.Errorf("a busy port: %v\n%s", err, out)
	}
	if err := d.end(os.Interrupt); err != nil {
		t.Errorf("after Ctrl-C: %v\n%s", err, d.out)
	}
}

// quiet waits until the picture stays the same for a second.
func (d *devStack) quiet() map[string]string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	last, at := d.picture(), time.Now()
	for ctx.Err() == nil && time.Since(at) < time.Second {
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
		if now := d.picture(); len(lab.Changed("", last, now)) > 0 {
			last, at = now, time.Now()
		}
	}
	return last
}
