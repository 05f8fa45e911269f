package devstack

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEnvFile_RoundTrip(t *testing.T) {
	dir := t.TempDir()
	if got, err := ReadEnv(dir); err != nil || len(got) != 0 {
		t.Fatalf("a missing file is %v, %v", got, err)
	}
	if err := writeEnv(dir, map[string]string{"NATS_URL": "nats://127.0.0.1:4222", "A": "x=y"}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadEnv(dir)
	if err != nil || got["NATS_URL"] != "nats://127.0.0.1:4222" || got["A"] != "x=y" || len(got) != 2 {
		t.Errorf("read %v, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(dir, EnvFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file may hold a password, its mode is %v (%v)", info.Mode(), err)
	}
}

func TestEnvFile_AShellReadsIt(t *testing.T) {
	dir := t.TempDir()
	const path = `/home/it's me/a b/$x`
	if err := writeEnv(dir, map[string]string{"KUBECONFIG": path}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$0"; printf %s "$KUBECONFIG"`, filepath.Join(dir, EnvFile)).Output()
	if err != nil || string(out) != path {
		t.Errorf("a shell reads %q, %v", out, err)
	}
	if got, err := ReadEnv(dir); err != nil || got["KUBECONFIG"] != path {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestLockDir_OneStackADirectory(t *testing.T) {
	dir := t.TempDir()
	release, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("a second stack: %v", err)
	}
	release()
	again, err := lockDir(dir)
	if err != nil {
		t.Fatalf("after the first: %v", err)
	}
	again()
}

func TestCheck_SaysAllThatIsMissingAtOnce(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	c := Config{BinDir: t.TempDir(), CRDDir: t.TempDir(), Devices: 1}
	c.Ports.NATS = busy.Addr().(*net.TCPAddr).Port
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // do not wait for the port
	text := c.check(ctx).Error()
	for _, want := range []string{"fleet-patcher", "fleet-reconciler", "fleet-aggregator", "fleet-sim", "kubeapi", "make build", "--crds", "--nats-port"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

func TestBanner_ShowsNoPassword(t *testing.T) {
	cfg, err := Config{Dir: t.TempDir(), NATSURL: "nats://bob:s3cr3t@127.0.0.1:4333"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	st := &stack{cfg: cfg, natsURL: cfg.NATSURL, kubeconfig: filepath.Join(cfg.Dir, "kubeconfig")}
	text := st.banner()
	if strings.Contains(text, "s3cr3t") || !strings.Contains(text, EnvFile) {
		t.Errorf("the banner is\n%s", text)
	}
	if strings.Contains(strings.Join(st.simulator().args, " "), "s3cr3t") {
		t.Error("the password is an argument")
	}
}
