package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"harmony.dev/fleet"
	"harmony.dev/fleet/child"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/rpc"
)

const within = 20 * time.Second

// proc is the tiny service as a process.
type proc struct {
	t    *testing.T
	p    *child.Process
	addr string

	mu  sync.Mutex
	out strings.Builder
}

// Write takes what the process prints.
func (p *proc) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *proc) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// launch starts the service and waits for its HTTP address.
func launch(t *testing.T, env []string, args ...string) *proc {
	t.Helper()
	p := &proc{t: t}
	file := filepath.Join(t.TempDir(), "addr")
	var err error
	p.p, err = child.Start(child.Spec{
		Name: "tiny", Path: os.Args[0], Args: append([]string{"--http-address-file", file, "--instance", "one", "--exit-with-parent"}, args...),
		Env: append(append(os.Environ(), asService+"=1"), env...), Stdout: p, Stderr: p,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.p.Kill()
		if t.Failed() {
			t.Log(p.output())
		}
	})
	fleettest.Eventually(t, within, "the service writes its HTTP address", func() bool {
		b, err := os.ReadFile(file)
		p.addr = strings.TrimSpace(string(b))
		return err == nil
	})
	return p
}

// get returns status and body, or zero when nobody listens any more.
func (p *proc) get(path string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.addr+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

func (p *proc) health() (int, fleet.Health) {
	code, body := p.get("/readyz")
	var h fleet.Health
	if code != 0 {
		if err := json.Unmarshal([]byte(body), &h); err != nil {
			p.t.Errorf("/readyz says %q: %v", body, err)
		}
	}
	return code, h
}

func (p *proc) ready() {
	p.t.Helper()
	fleettest.Eventually(p.t, within, "the service is ready", func() bool {
		code, h := p.health()
		return code == http.StatusOK && h.State == fleet.StateReady
	})
}

// notReadyFor waits until /readyz says 503 for a reason.
func (p *proc) notReadyFor(reason string) fleet.Health {
	p.t.Helper()
	var h fleet.Health
	fleettest.Eventually(p.t, within, "not ready: "+reason, func() bool {
		var code int
		code, h = p.health()
		return code == http.StatusServiceUnavailable &&
			slices.ContainsFunc(h.Reasons, func(r fleet.Reason) bool { return r.Reason == reason })
	})
	return h
}

func (p *proc) printed(text string) {
	p.t.Helper()
	fleettest.Eventually(p.t, within, "printed: "+text, func() bool { return strings.Contains(p.output(), text) })
}

func (p *proc) signal(s os.Signal) {
	p.t.Helper()
	if err := p.p.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end and returns the exit code.
func (p *proc) exit() int {
	p.t.Helper()
	select {
	case <-p.p.Done():
	case <-time.After(within):
		p.t.Fatalf("the process has not ended after %s", within)
	}
	if exit, ok := errors.AsType[*exec.ExitError](p.p.Err()); ok {
		return exit.ExitCode()
	}
	return 0
}

func TestMain_ServesAndEndsInOrder(t *testing.T) {
	ns := fleettest.NATS(t)
	nc := ns.Conn(t)
	p := launch(t, nil, "--nats-url", ns.URL())
	p.ready()

	if code, _ := p.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz says %d", code)
	}
	_, metrics := p.get("/metrics")
	for _, line := range []string{
		"fleet_ready 1", `fleet_nats_connected{connection="data"} 1`, `fleet_nats_connected{connection="control"} 1`,
		`fleet_state{state="ready"} 1`, `fleet_state{state="degraded"} 0`, `fleet_source_entries{source="kind"} 7`,
		`fleet_lease_held{bucket="b"} 1`, `fleet_epoch{bucket="b"} 9`, "go_goroutines", "process_open_fds", "fleet_build_info{",
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	answers, err := rpc.CallEvery[HealthRequest, fleet.Health](t.Context(), nc, fleet.HealthEndpoint(fleet.ServicePatcher), HealthRequest{}, 2*time.Second)
	if err != nil || len(answers) != 1 || answers[0].Instance != "one" || !answers[0].Ready {
		t.Errorf("health over micro: %+v, %v", answers, err)
	}
	if got := connectionNames(t, ns); !slices.Contains(got, "fleet-patcher/one/data") || !slices.Contains(got, "fleet-patcher/one/control") {
		t.Errorf("connections are named %v", got)
	}

	answer := make(chan error, 1)
	go func() {
		_, err := rpc.Call[struct{}, string](t.Context(), nc, slow, struct{}{})
		answer <- err
	}()
	p.printed("slow started")
	p.signal(syscall.SIGTERM)
	p.notReadyFor(reasonStopping)
	if err := <-answer; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.output(), `msg="handed back" service=fleet-patcher instance=one connected=true`) {
		t.Error("the connections did not outlast the goroutines")
	}
}

func connectionNames(t *testing.T, ns *fleettest.Server) []string {
	t.Helper()
	z, err := ns.NATSServer().Connz(&server.ConnzOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range z.Conns {
		names = append(names, c.Name)
	}
	return names
}

func TestMain_ABugEndsTheProcess(t *testing.T) {
	for behave, want := range map[string]string{"panic": "panic: boom", "return": "goroutine bad ended"} {
		t.Run(behave, func(t *testing.T) {
			p := launch(t, nil, "--nats-url", fleettest.NATS(t).URL(), "--behave", behave)
			p.ready()
			p.printed("now")
			start := time.Now()
			h := p.notReadyFor(reasonFailed)
			if !strings.Contains(h.Reasons[0].Message, want) {
				t.Errorf("reasons %+v", h.Reasons)
			}
			if code := p.exit(); code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("ended after %s", d)
			}
			if behave == "panic" && !strings.Contains(p.output(), "misbehave") {
				t.Error("the log has no stack")
			}
		})
	}
}

func TestMain_APanicInAHandlerEndsTheProcess(t *testing.T) {
	ns := fleettest.NATS(t)
	p := launch(t, nil, "--nats-url", ns.URL(), "--behave", "handler-panic")
	p.ready()
	if _, err := rpc.Call[struct{}, string](t.Context(), ns.Conn(t), slow, struct{}{}); fleet.CodeOf(err) != fleet.CodeInternal {
		t.Errorf("the caller got %v", err)
	}
	if code := p.exit(); code != exitFailed || !strings.Contains(p.output(), "tinySlow") {
		t.Errorf("exit code %d, or no stack in the log", code)
	}
}

func TestMain_SetupError(t *testing.T) {
	p := launch(t, nil, "--nats-url", fleettest.NATS(t).URL(), "--behave", "setup-error")
	if code := p.exit(); code != exitFailed || !strings.Contains(p.output(), "no wiring") {
		t.Errorf("exit code %d", code)
	}
}

func TestMain_SecondSignal(t *testing.T) {
	p := launch(t, nil, "--nats-url", fleettest.NATS(t).URL(), "--behave", "hang")
	p.ready()
	p.signal(syscall.SIGINT)
	p.notReadyFor(reasonStopping)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
}

func TestMain_FaultPoints(t *testing.T) {
	ns := fleettest.NATS(t)
	post := func(p *proc, point string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addr+"/fault/panic?point="+point, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for point, want := range map[string]string{
		"holder":      "goroutine holder: panic: fault point",
		"http":        "goroutine http: panic: fault point",
		pointEndpoint: "goroutine micro: handler of fleet.v1.patcher.health: panic: fault point",
		// What net/http would have hidden.
		pointHTTP: "goroutine http: serve HTTP: handler of /fault/panic: panic: fault point",
	} {
		t.Run(point, func(t *testing.T) {
			p := launch(t, nil, "--nats-url", ns.URL(), "--enable-fault-points")
			p.ready()
			if _, names := p.get("/fault/goroutines"); strings.TrimSpace(names) != `["holder","http","micro","nats-control","nats-data"]` {
				t.Errorf("goroutines: %s", names)
			}
			if code := post(p, "nobody"); code != http.StatusNotFound {
				t.Errorf("a point that is not there: %d", code)
			}
			post(p, point)
			if point == pointEndpoint {
				_, _ = rpc.CallEvery[HealthRequest, fleet.Health](t.Context(), ns.Conn(t), fleet.HealthEndpoint(fleet.ServicePatcher), HealthRequest{}, time.Second)
			}
			if h := p.notReadyFor(reasonFailed); !strings.Contains(h.Reasons[0].Message, want) {
				t.Errorf("reasons %+v", h.Reasons)
			}
			if code := p.exit(); code != exitFailed {
				t.Errorf("exit code %d", code)
			}
		})
	}
	p := launch(t, nil, "--nats-url", ns.URL())
	p.ready()
	if code := post(p, "holder"); code != http.StatusNotFound {
		t.Errorf("without --enable-fault-points: %d", code)
	}
}

func TestMain_ExitWithParent(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--exit-with-parent", "--nats-url", fleettest.NATS(t).URL())
	cmd.Env = append(os.Environ(), asService+"=1")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "parent has ended") {
		t.Errorf("ended with %v: %s", err, out.String())
	}
}

func TestMain_WaitsForNATS(t *testing.T) {
	ns := fleettest.NATS(t)
	url := ns.URL()
	ns.Shutdown()
	p := launch(t, nil, "--nats-url", url)
	h := p.notReadyFor(reasonUnreachable)
	if h.State != fleet.StateDegraded || !strings.Contains(h.Reasons[0].Message, "connection refused") {
		t.Errorf("health %+v", h)
	}
	if code, _ := p.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz says %d while NATS is down", code)
	}
	ns.Start()
	p.ready()
	ns.Shutdown()
	fleettest.Eventually(t, within, "degraded again", func() bool {
		_, h := p.health()
		return h.State == fleet.StateDegraded
	})
	if code, h := p.health(); code != http.StatusOK {
		t.Errorf("the view is still there, but /readyz says %d: %+v", code, h.Reasons)
	}
	ns.Start()
	p.ready()
	ns.Shutdown()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d without NATS", code)
	}
}

func TestMain_RefusedUserKeepsTryingAndKeepsTheSecret(t *testing.T) {
	ns := fleettest.NATS(t, fleettest.WithOptions(func(o *server.Options) { o.Username, o.Password = "fleet", "right" }))
	wrong := strings.Replace(ns.URL(), "nats://", "nats://fleet:s3cret@", 1)
	p := launch(t, nil, "--nats-url", wrong, "--log-level", "debug")
	h := p.notReadyFor(reasonUnauthorized)
	fleettest.Eventually(t, within, "both connections are refused", func() bool {
		h = p.notReadyFor(reasonUnauthorized)
		return len(h.Reasons) > 1 && h.Reasons[1].Reason == reasonUnauthorized
	})
	if text := fmt.Sprint(h) + p.output(); strings.Contains(text, "s3cret") || !strings.Contains(text, "redacted@127.0.0.1") {
		t.Errorf("secret in: %s", text)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestMain_NATSContext(t *testing.T) {
	ns := fleettest.NATS(t, fleettest.WithOptions(func(o *server.Options) { o.Username, o.Password = "fleet", "s3cret" }))
	home := t.TempDir()
	p := launch(t, []string{"XDG_CONFIG_HOME=" + home}, "--nats-context", "plant")
	h := p.notReadyFor(reasonMisconfigured)
	if !strings.Contains(h.Reasons[0].Message, `unknown context "plant"`) {
		t.Errorf("reasons %+v", h.Reasons)
	}
	dir := filepath.Join(home, "nats", "context")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	doc := fmt.Sprintf(`{"url": %q, "user": "fleet", "password": "s3cret"}`, ns.URL())
	if err := writeFile(filepath.Join(dir, "plant.json"), doc); err != nil {
		t.Fatal(err)
	}
	p.ready()
	if strings.Contains(p.output(), "s3cret") {
		t.Error("the log has the password")
	}
}

func TestMain_BusyHTTPPort(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stderr strings.Builder
	code := Main(t.Context(), []string{"tiny", "--http-listen", l.Addr().String()}, func(string) string { return "" }, io.Discard, &stderr, tiny)
	if code != exitFailed || !strings.Contains(stderr.String(), "address already in use") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

func TestMain_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var stderr strings.Builder
	code := make(chan int, 1)
	go func() {
		code <- Main(ctx, []string{"tiny", "--nats-url", fleettest.NATS(t).URL(), "--http-listen", ""}, func(string) string { return "" }, io.Discard, &stderr, tiny)
	}()
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d: %s", got, stderr.String())
	}
}
