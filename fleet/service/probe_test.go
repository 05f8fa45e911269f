package service

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/urfave/cli/v2"

	"harmony.dev/fleet/fleettest"
)

// probed runs the probe as a health check does: beside the instance, with its environment.
func probed(t *testing.T, listen string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	spec := Spec{Name: "fleet-test", Usage: "tests", Setup: func(context.Context, *cli.Context, *Runtime) error { return nil }}
	env := func(name string) string {
		if name == EnvName("http-listen") {
			return listen
		}
		return ""
	}
	code = Main(t.Context(), append([]string{"fleet-test", "probe"}, args...), env, &out, &err, spec)
	return code, out.String(), err.String()
}

func TestProbe_SaysWhatTheInstanceSays(t *testing.T) {
	ns := fleettest.NATS(t)
	url := ns.URL()
	ns.Shutdown()
	p := launch(t, nil, "--nats-url", url)
	p.notReadyFor(reasonUnreachable)
	_, port, _ := strings.Cut(p.addr, ":")
	if code, _, text := probed(t, ":"+port); code != exitFailed || !strings.Contains(text, reasonUnreachable) || strings.Contains(text, "--help") {
		t.Errorf("without NATS: code %d, %q", code, text)
	}
	if code, text, _ := probed(t, p.addr, "--live"); code != exitOK || text != "ok\n" {
		t.Errorf("alive: code %d, %q", code, text)
	}
	ns.Start()
	p.ready()
	if code, text, _ := probed(t, "0.0.0.0:"+port); code != exitOK || text != "ok\n" {
		t.Errorf("ready: code %d, %q", code, text)
	}
	_ = p.p.Kill()
	if status, _ := p.get("/readyz"); status == http.StatusOK {
		t.Fatal("it still answers")
	}
	if code, _, text := probed(t, p.addr); code != exitFailed || !strings.Contains(text, "refused") {
		t.Errorf("dead: code %d, %q", code, text)
	}
}

// TestProbe_AsksNoProxy runs it as a process of its own: the environment's proxy is read once.
func TestProbe_AsksNoProxy(t *testing.T) {
	var asked atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer proxy.Close()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "probe") //nolint:gosec // it is this program
	cmd.Env = append(os.Environ(), asService+"=1", "HTTP_PROXY="+proxy.URL, "NO_PROXY=", EnvName("http-listen")+"=instance.invalid:8080")
	out, err := cmd.CombinedOutput()
	if err == nil || asked.Load() || !strings.Contains(string(out), "no answer") {
		t.Errorf("the proxy was asked: %t, %v: %s", asked.Load(), err, out)
	}
}

func TestProbe_NeedsAPort(t *testing.T) {
	for _, listen := range []string{"", "127.0.0.1:0", "nonsense"} {
		if code, _, text := probed(t, listen); code != exitUsage || !strings.Contains(text, "--http-listen") {
			t.Errorf("%q: code %d, %q", listen, code, text)
		}
	}
	if code, _, text := probed(t, "127.0.0.1:8080", "please"); code != exitUsage || !strings.Contains(text, "please") {
		t.Errorf("an argument: code %d, %q", code, text)
	}
}
