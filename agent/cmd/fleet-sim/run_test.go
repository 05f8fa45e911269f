package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"harmony.dev/agent/agenttest"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is a buffer that a program writes while a test reads it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func none(string) string { return "" }

func TestRun_SimulatesUntilTheParentEnds(t *testing.T) {
	server := fleettest.NATS(t)
	nc := server.Conn(t)
	b, r := agenttest.NewBuckets(t, nc), agenttest.NewReconciler(t, nc)
	pair := fleet.Pair{Device: "dev-0024", Deployment: "web"}
	hash := r.Put(pair, "one")
	stdin, parent := io.Pipe()
	stdout, stderr := &output{}, &output{}
	code := make(chan int, 1)
	go func() {
		env := map[string]string{"FLEET_NATS_URL": server.URL(), "FLEET_DELAY": "1ms..2ms"}
		code <- run(t.Context(), []string{
			"fleet-sim", "--label-cycle", "region=north,east,south,west", "--label-cycle", "arch=arm64,amd64",
			"--connections", "2", "--data-dir", t.TempDir(), "--exit-with-parent", "--silence", "dev-0001@1h..2h",
		}, func(name string) string { return env[name] }, stdin, stdout, stderr)
	}()
	b.WantReport(pair, fleet.PhaseRunning, hash)
	fleettest.Eventually(t, agenttest.Wait, "all 24 say who they are", func() bool { return b.Count(fleet.BucketDeviceInfo) == 24 })
	if info, _ := b.Info("dev-0002"); info.Labels["region"] != "east" || info.Labels["arch"] != "amd64" {
		t.Errorf("labels of dev-0002: %v", info.Labels)
	}
	if err := parent.Close(); err != nil {
		t.Fatal(err)
	}
	if c := <-code; c != exitOK {
		t.Errorf("exit code %d:\n%s", c, stderr)
	}
	if got := stdout.String(); got != "simulating 24 devices dev-0001…dev-0024\n" {
		t.Errorf("printed %q", got)
	}
}

func TestRun_WaitsForNATS(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stdout, stderr := &output{}, &output{}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"fleet-sim", "--nats-url", "nats://127.0.0.1:1"}, none, nil, stdout, stderr)
	}()
	fleettest.Eventually(t, agenttest.Wait, "it says why it waits", func() bool { return strings.Contains(stderr.String(), "NATSUnreachable") })
	cancel()
	if c := <-code; c != exitOK {
		t.Errorf("exit code %d:\n%s", c, stderr)
	}
}

func TestRun_Misuse(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--devices 0", "at least 1"},
		{"--devices x", "devices"},
		{"--bogus", "bogus"},
		{"stray", "stray"},
		{"--prefix Dev", "DNS label"},
		{"--delay 5", "--delay"},
		{"--delay 5s..1s", "--delay"},
		{"--label-cycle region", "--label-cycle"},
		{"--label-cycle region=a=b", "value"},
		{"--silence dev-0001", "--silence"},
		{"--silence dev-0001@5s", "is no span"},
		{"--clock dev-0001", "--clock"},
		{"--connections 0", "--connections"},
		{"--heartbeat 0s", "--heartbeat"},
		{"--fail-rate 2", "fail rate"},
		{"--nats-url ftp://x", "--nats-url"},
		{"--log-format xml", "--log-format"},
	} {
		stdout, stderr := &output{}, &output{}
		if code := run(t.Context(), append([]string{"fleet-sim"}, strings.Fields(c.args)...), none, nil, stdout, stderr); code != exitUsage {
			t.Errorf("%s: exit code %d", c.args, code)
		}
		if !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%s: printed %q", c.args, stderr)
		}
	}
	for _, flag := range []string{"--help", "--version"} {
		stdout, stderr := &output{}, &output{}
		if code := run(t.Context(), []string{"fleet-sim", flag}, none, nil, stdout, stderr); code != exitOK || stdout.String() == "" {
			t.Errorf("%s: exit code %d, printed %q", flag, code, stderr)
		}
	}
}
