package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/rpc"
)

// invoke runs the command line as a process would, without any environment.
func invoke(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, append([]string{"fleet"}, args...), func(string) string { return "" }, &out, &err)
	return code, out.String(), err.String()
}

func TestRun_WrongCommandLinesEndWithTwoAndNameWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"stauts", `unknown command "stauts": did you mean "status"?`},
		{"frobnicate", `unknown command "frobnicate"`},
		{"delete", `unknown command "delete": 'fleet --help'`},
		{"ver", `did you mean "version"?`},
		{"get device pi-1 -l a=1", "named or filtered"},
		{"status --nats-url http://h", `scheme "http"`},
		{"frobnicate --help", `frobnicate`},
		{"get", "say what to get"},
		{"get pods", `unknown kind "pods"`},
		{"get devices a b", `got "b" too`},
		{"get devices -o toml", `unknown output "toml"`},
		{"get devices -o", "--output needs a value"},
		{"--nats-url nats://127.0.0.1:1 dev", "in front of 'dev'"},
		{"get devices --state Asleep", `unknown state "Asleep"`},
		{"get devices -l a>1", "not supported"},
		{"get deployments -l a=1", "--selector is for"},
		{"get devices --nonsense", "unknown flag --nonsense"},
		{"--nonsense", "unknown flag --nonsense"},
		{"status now", `got "now"`},
		{"version -o toml", `unknown output "toml"`},
		{"doctor now", `got "now"`},
		{"doctor -o toml", `unknown output "toml"`},
		{"doctor --limit=-1", "--skew and --limit"},
		{"doctor --within 0s", "must be positive"},
		{"backup", "say which folder"},
		{"backup a b", `got "b" too`},
		{"backup a --bucket device-stat", `did you mean "device-state"?`},
		{"backup a --bucket fleet-leases", "nothing but a lease"},
		{"backup a -o toml", `unknown output "toml"`},
		{"restore", "say which folder"},
		{"restore a --wait=-1s", "--wait"},
		{"restore a --bucket nope", `unknown bucket "nope"`},
		{"restor", `did you mean "restore"?`},
		{"uninstall", "--namespace NS"},
		{"uninstall --namespace A_b", "no name of a namespace"},
		{"uninstall now --namespace a", `got "now"`},
		{"uninstall --namespace a --scale-down -x", "--scale-down"},
		{"uninstall --namespace a", "name one with --kubeconfig"},
		{"crds now", `got "now"`},
		{"crds --dir /nowhere", "--dir"},
		{"crds --timeout 0s", "must be positive"},
		{"dev --devices=-1", "--devices -1"},
		{"dev --port 1", "unknown flag --port"},
		{"status --nats-url nats://127.0.0.1:1 --nats-context prod", "exclude each other"},
	} {
		code, stdout, stderr := invoke(t.Context(), strings.Fields(c.args)...)
		if code != 2 || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("fleet %s: exit %d, stdout %q, stderr %q; want exit 2 and %q on stderr", c.args, code, stdout, stderr, c.want)
		}
	}
}

func TestRun_UnreachableServerSaysWhatToDo(t *testing.T) {
	code, stdout, stderr := invoke(t.Context(), "get", "devices", "--nats-url", "nats://user:secret@127.0.0.1:1")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "--nats-url") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if strings.Contains(stderr, "secret") {
		t.Errorf("the password is shown: %s", stderr)
	}
}

func TestRun_Version(t *testing.T) {
	code, stdout, _ := invoke(t.Context(), "version", "-o", "json")
	var got map[string]string
	if code != 0 || json.Unmarshal([]byte(stdout), &got) != nil || got["version"] == "" || got["go"] == "" {
		t.Errorf("exit %d, stdout %q", code, stdout)
	}
}

// operator answers as the services would.
type operator struct {
	t       *testing.T
	nc      *nats.Conn
	devices []fleet.DeviceView
	state   atomic.Value // the fleet.State of the services
	ahead   atomic.Int64 // of their clocks: a time.Duration
}

func startOperator(t *testing.T) (*operator, string) {
	srv := fleettest.NATS(t)
	o := &operator{t: t, nc: srv.Conn(t)}
	o.state.Store(fleet.StateReady)
	for _, name := range []string{"pi-1", "pi-2", "pi-3"} {
		at := time.Now().Add(-5 * time.Second)
		o.devices = append(o.devices, fleet.DeviceView{
			Name: fleet.DeviceID(name), State: fleet.DeviceFresh, LastSeen: &at, Registered: true, Deployments: 1,
			Labels: map[string]string{"region": "north"}, Agent: "\x1b[31mred",
		})
	}
	return o, srv.URL()
}

func (o *operator) serve(service string, ready bool, more func(*rpc.Server)) {
	o.t.Helper()
	s, err := rpc.NewServer(o.nc, rpc.Config{Service: service, Instance: service + "-1", Version: "0.0.1", Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		o.t.Fatal(err)
	}
	err = rpc.Handle(s, fleet.HealthEndpoint(service), func(context.Context, struct{}) (fleet.Health, error) {
		h := fleet.Health{
			Service: service, Instance: service + "-1", State: o.state.Load().(fleet.State), Ready: ready,
			AsOf:    time.Now().Add(time.Duration(o.ahead.Load())),
			Reasons: []fleet.Reason{}, Lease: &fleet.LeaseHealth{Held: true, Epoch: 7},
			Sources: []fleet.Source{{Name: "desired-state", Synced: ready, Done: 1, Total: 2, Reason: "reading"}},
		}
		return h, nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	if more != nil {
		more(s)
	}
	if err := o.nc.Flush(); err != nil { // whoever asks next, by another connection, is answered
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	o.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Errorf("the fake %s: %v", service, err)
		}
	})
}

func (o *operator) lists(s *rpc.Server) {
	o.t.Helper()
	err := rpc.Handle(s, fleet.DevicesList, func(_ context.Context, req fleet.DevicesListRequest) (fleet.DevicesListResponse, error) {
		resp := fleet.DevicesListResponse{Freshness: fleet.Freshness{AsOf: time.Now(), Synced: true}, Total: len(o.devices)}
		for _, d := range o.devices { // one a page
			if string(d.Name) > req.After {
				resp.Items = []fleet.DeviceView{d}
				resp.Next = string(d.Name)
				break
			}
		}
		return resp, nil
	})
	if err == nil {
		err = rpc.Handle(s, fleet.DevicesGet, func(_ context.Context, req fleet.GetRequest) (fleet.DevicesGetResponse, error) {
			return fleet.DevicesGetResponse{}, fleet.Errorf(fleet.CodeNotFound, "DeviceUnknown", "there is no device %q", req.Name)
		})
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

func TestGet_GathersAllPages(t *testing.T) {
	o, url := startOperator(t)
	o.serve(fleet.ServiceAggregator, true, o.lists)
	code, stdout, stderr := invoke(t.Context(), "get", "devices", "--nats-url", url, "-o", "wide")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 4 || !strings.HasPrefix(lines[0], "NAME") || !strings.HasPrefix(lines[3], "pi-3") {
		t.Errorf("exit %d, stderr %q, stdout\n%s", code, stderr, stdout)
	}
	if strings.Contains(stdout, "\x1b") {
		t.Errorf("a device's control characters reached the terminal: %q", stdout)
	}
	code, stdout, _ = invoke(t.Context(), "get", "devices", "--nats-url", url, "-o", "json")
	var list struct{ Items []fleet.DeviceView }
	if code != 0 || json.Unmarshal([]byte(stdout), &list) != nil || len(list.Items) != 3 {
		t.Errorf("exit %d, JSON %s", code, stdout)
	}
}

func TestGet_UnknownNameIsAnError(t *testing.T) {
	o, url := startOperator(t)
	o.serve(fleet.ServiceAggregator, true, o.lists)
	code, stdout, stderr := invoke(t.Context(), "get", "device", "nope", "--nats-url", url)
	if code != 1 || stdout != "" || !strings.Contains(stderr, `there is no device "nope"`) {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestStatus_ExitCodeIsZeroOnlyWhenAllAreReady(t *testing.T) {
	o, url := startOperator(t)
	args := []string{"status", "--nats-url", url, "--wait", "2s"}
	o.serve(fleet.ServicePatcher, true, nil)
	o.serve(fleet.ServiceReconciler, true, nil)
	code, stdout, stderr := invoke(t.Context(), args...)
	if code != 1 || !strings.Contains(stdout, "fleet-aggregator does not answer") {
		t.Errorf("a silent service: exit %d, stderr %q, stdout\n%s", code, stderr, stdout)
	}
	o.serve(fleet.ServiceAggregator, true, nil)
	if code, stdout, stderr = invoke(t.Context(), args...); code != 0 || !strings.Contains(stdout, "holds") {
		t.Errorf("all ready: exit %d, stderr %q, stdout\n%s", code, stderr, stdout)
	}
	o.state.Store(fleet.StateHeld)
	if code, stdout, stderr = invoke(t.Context(), args...); code != 1 || !strings.Contains(stdout, "held") {
		t.Errorf("held: exit %d, stderr %q, stdout\n%s", code, stderr, stdout)
	}
	o.state.Store(fleet.StateReady)
	o.serve(fleet.ServicePatcher, false, nil)
	if code, stdout, stderr = invoke(t.Context(), args...); code != 1 || !strings.Contains(stdout, "desired-state 50%") {
		t.Errorf("a replica that is not ready: exit %d, stderr %q, stdout\n%s", code, stderr, stdout)
	}
}
