package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/rpc"
	"harmony.dev/fleet/service"
)

// The whole process, but for its main function.
func TestProcess_BecomesReadyAndEnds(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil)
	s.deployment("web", 1, "a", nil)
	s.whole()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code := make(chan int, 1)
	args := []string{fleet.ServiceReconciler, "--nats-url", s.data.URL(), "--http-listen", "", "--instance", "one"}
	go func() {
		code <- service.Main(ctx, args, func(string) string { return "" }, t.Output(), t.Output(), spec())
	}()
	s.keys(map[string]string{"d1.web": wanted(t, "web", "a")})
	fleettest.Eventually(t, soon, "it says that it is ready", func() bool {
		got, err := rpc.CallEvery[service.HealthRequest, fleet.Health](t.Context(), s.ctl, fleet.HealthEndpoint(fleet.ServiceReconciler), service.HealthRequest{}, 200*time.Millisecond)
		return err == nil && len(got) == 1 && got[0].State == fleet.StateReady && got[0].Ready &&
			got[0].Lease != nil && got[0].Lease.Held && len(got[0].Sources) == 2
	})
	cancel()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
}

func TestProcess_RefusesSettingsThatMakeNoSense(t *testing.T) {
	server := fleettest.NATS(t)
	for _, flag := range []string{
		"--brake-window=2h", "--brake-window=0s", "--brake-quiet=-1s", "--brake-max-wait=-1s",
		"--brake-percent=101", "--brake-min=0", "--incomplete-for=-1s",
		"--brake-quiet=2m", // longer than the longest wait
	} {
		name, value, _ := strings.Cut(flag, "=")
		run := func(env map[string]string, more ...string) (int, string) {
			var out bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), soon) // it runs on when it is not refused
			defer cancel()
			args := append([]string{fleet.ServiceReconciler, "--nats-url", server.URL(), "--http-listen", ""}, more...)
			code := service.Main(ctx, args, func(k string) string { return env[k] }, &out, &out, spec())
			return code, out.String()
		}
		if code, out := run(nil, flag); code != 2 || !strings.Contains(out, name) {
			t.Errorf("%s: exit code %d, want 2\n%s", flag, code, out)
		}
		env := service.EnvName(strings.TrimPrefix(name, "--"))
		if code, out := run(map[string]string{env: value}); code != 2 || !strings.Contains(out, name) {
			t.Errorf("%s=%s: exit code %d\n%s", env, value, code, out)
		}
	}
}
