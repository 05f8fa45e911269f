package e2e

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

func TestReady_KubeconfigLeadsToTheNamespace(t *testing.T) {
	t.Parallel()
	if !shared.ready.Ready || shared.ready.Kubeconfig != shared.kubeconfig || !strings.HasPrefix(shared.ready.URL, "https://127.0.0.1:") {
		t.Errorf("ready line = %+v", shared.ready)
	}
	config, err := clientcmd.LoadFromFile(shared.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if config.CurrentContext != "fleet" || config.Contexts["fleet"] == nil || config.Contexts["fleet"].Namespace != "fleet" {
		t.Errorf("current context is %q of %v, want fleet with namespace fleet", config.CurrentContext, config.Contexts)
	}
	if cluster := config.Clusters[config.Contexts["fleet"].Cluster]; cluster.Server != shared.ready.URL {
		t.Errorf("server = %s, want %s", cluster.Server, shared.ready.URL)
	}
	get(t, shared.dynamic(t).Resource(namespaces), "fleet")
}

func TestFiles_ArePrivate(t *testing.T) {
	t.Parallel()
	keys, err := filepath.Glob(filepath.Join(shared.dataDir, "pki", "*"))
	if err != nil || len(keys) == 0 {
		t.Fatalf("looking for the keys: %v, %v", keys, err)
	}
	for _, file := range append(keys, shared.kubeconfig) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", file, info.Mode().Perm())
		}
	}
	for _, dir := range []string{"pki", "etcd"} {
		info, err := os.Stat(filepath.Join(shared.dataDir, dir))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %o, want 700", dir, info.Mode().Perm())
		}
	}
}

func TestSIGTERM_EndsCleanlyAfterOneLineOfOutput(t *testing.T) {
	t.Parallel()
	// a path that no unix socket could have
	dataDir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	child := start(t, dataDir, "--namespace", "other", "--server-url", "https://kubeapi.example:7443", "--san", "kubeapi.alias")
	// an open watch must not hold the end up
	watch, err := viaLocalhost(t, child).Resource(namespaces).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()

	if err := child.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := child.awaitExit(t, stopTimeout); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
	want, err := json.Marshal(child.ready)
	if err != nil {
		t.Fatal(err)
	}
	if got := child.stdout.String(); got != string(want)+"\n" {
		t.Errorf("standard output = %q, want one line %q", got, want)
	}
	config, err := clientcmd.LoadFromFile(child.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Clusters["fleet"].Server; got != "https://kubeapi.example:7443" {
		t.Errorf("server = %s, want the URL asked for", got)
	}
	if got := config.Contexts["fleet"].Namespace; got != "other" {
		t.Errorf("namespace = %s, want the one asked for", got)
	}
}

func TestParentPipe_EndOfInputEndsTheChild(t *testing.T) {
	t.Parallel()
	child := start(t, t.TempDir())
	if err := child.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if code := child.awaitExit(t, stopTimeout); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
}

func TestParentPipe_EndOfInputEndsAnUnreadyChild(t *testing.T) {
	t.Parallel()
	child := begin(t, t.TempDir())
	if err := child.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if code := child.awaitExit(t, startTimeout); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
	if got := child.stdout.String(); got != "" {
		t.Errorf("standard output = %q, want none", got)
	}
}

func TestBusyPort_IsToldAtOnce(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	child := begin(t, t.TempDir(), "--port", port)
	if code := child.awaitExit(t, stopTimeout); code != 1 {
		t.Errorf("exit code = %d, want 1", code)
	}
	if got := child.stderr.String(); !strings.Contains(got, "port "+port+" is taken") || !strings.Contains(got, "--port") {
		t.Errorf("standard error = %q, want the port and what to do", got)
	}
	if got := child.stdout.String(); got != "" {
		t.Errorf("standard output = %q, want none", got)
	}
}

func TestDataDir_IsForOneProcess(t *testing.T) {
	t.Parallel()
	child := begin(t, shared.dataDir)
	if code := child.awaitExit(t, startTimeout); code != 1 {
		t.Errorf("exit code = %d, want 1", code)
	}
	if got := child.stderr.String(); !strings.Contains(got, shared.dataDir) || !strings.Contains(got, "--data-dir") {
		t.Errorf("standard error = %q, want the directory and what to do", got)
	}
}

func TestUsage_MistakesAreNamed(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--port":           {"--port", "65536"},
		"flag provided":    {"--prot", "1"},
		"--bind-address":   {"--bind-address", "localhost"},
		"--namespace":      {"--namespace", "Not_A_Label"},
		"--server-url":     {"--server-url", "http://plain"},
		"--log-level":      {"--log-level", "loud"},
		"unexpected":       {"serve"},
		"--data-dir is mi": {"--data-dir", ""},
	} {
		child := begin(t, t.TempDir(), args...)
		if code := child.awaitExit(t, stopTimeout); code != 2 {
			t.Errorf("%v: exit code = %d, want 2", args, code)
		}
		if got := child.stderr.String(); !strings.Contains(got, want) {
			t.Errorf("%v: standard error = %q, want %q in it", args, got, want)
		}
	}
}

func TestEnvironment_SetsFlags(t *testing.T) {
	t.Parallel()
	command := exec.CommandContext(t.Context(), binary, "--data-dir", t.TempDir())
	command.Env = append(os.Environ(), "FLEET_KUBEAPI_BIND_ADDRESS=nowhere")
	output, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(output), `--bind-address "nowhere"`) {
		t.Errorf("output = %q, error = %v, want the flag from the environment refused", output, err)
	}
}
