package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/rpc"
	"harmony.dev/fleet/service"
	"harmony.dev/services/reconciler/holder"
	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
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

// broken is a view with a bug that shows when a device is answered.
type broken struct{ *view.View }

// Do panics.
func (broken) Do(func(*plan.State, view.Now)) { panic("boom") }

// brokenSpec is the service with that bug. told gets whether it was ready when its goroutines were told to end.
func brokenSpec(told chan<- bool) service.Spec {
	s := spec()
	s.Setup = func(_ context.Context, c *cli.Context, rt *service.Runtime) error {
		o, err := parseOptions(c)
		if err != nil {
			return err
		}
		r, err := newReconciler(parts{
			data: rt.Data, control: rt.Control, provisioning: rt.Provisioning, instance: rt.Instance,
			leaseTTL: rt.LeaseTTL, options: o, metrics: rt.Metrics, log: rt.Log,
		})
		if err != nil {
			return err
		}
		metrics, err := holder.NewMetrics(prometheus.NewRegistry())
		if err != nil {
			return err
		}
		r.holder = holder.New(holder.Config{
			View: broken{r.view}, Elector: r.elector, Data: rt.Data, Control: rt.Control,
			HandBackAfter: rt.LeaseTTL, Metrics: metrics, Log: rt.Log,
		})
		r.tell(rt.Health)
		for _, l := range r.loops(rt.Health) {
			rt.Go(l.name, l.run)
		}
		rt.Go("observer", func(ctx context.Context) error {
			<-ctx.Done()
			told <- rt.Health.Snapshot().Ready
			return nil
		})
		return nil
	}
	return s
}

func TestProcess_APanicWhileADeviceIsAnsweredEndsIt(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil)
	s.deployment("web", 1, "a", nil)
	s.whole()
	var out fleettest.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code, told := make(chan int, 1), make(chan bool, 1)
	args := []string{fleet.ServiceReconciler, "--nats-url", s.data.URL(), "--http-listen", "", "--instance", "one"}
	go func() {
		code <- service.Main(ctx, args, func(string) string { return "" }, &out, &out, brokenSpec(told))
	}()
	fleettest.Eventually(t, soon, "the device gets a 500", func() bool {
		_, err := s.ask("d1", fleet.SnapshotRequest{})
		return fleet.CodeOf(err) == fleet.CodeInternal
	})
	select {
	case got := <-code:
		if got != 1 {
			t.Errorf("exit code %d", got)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on")
	}
	if <-told {
		t.Error("it was ready still when its goroutines were told to end")
	}
	if !strings.Contains(out.String(), "panic: boom") || !strings.Contains(out.String(), "broken.Do") {
		t.Errorf("the log does not say where:\n%s", out.String())
	}
	fleettest.Eventually(t, soon, "the lease is given back", func() bool { return s.tap.get(fleet.KeyLease).deleted })
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
