package service

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"harmony.dev/fleet/kv"
)

// parse returns the settings of a command line, as Main has them.
func parse(t *testing.T, env map[string]string, args ...string) (settings, int, string) {
	t.Helper()
	var got settings
	var out strings.Builder
	flags := commonFlags()
	app := &cli.App{
		Flags: flags,
		Action: func(c *cli.Context) error {
			p, err := newProcess(c, flags, func(k string) string { return env[k] }, &out, Spec{Name: "fleet-test"})
			if err == nil {
				got = p.set
			}
			return err
		},
	}
	if err := app.Run(append([]string{"fleet-test"}, args...)); err != nil {
		return got, exitUsage, err.Error()
	}
	return got, exitOK, out.String()
}

func TestSettings_Defaults(t *testing.T) {
	s, code, text := parse(t, nil)
	if code != exitOK {
		t.Fatal(text)
	}
	if s.data != (target{url: "nats://127.0.0.1:4222"}) || s.control != s.data {
		t.Errorf("targets %+v, %+v", s.data, s.control)
	}
	if s.provisioning != (kv.Provisioning{Fleet: "fleet", Replicas: 1, Storage: kv.File}) || s.leaseTTL != 10*time.Second {
		t.Errorf("%+v", s)
	}
	if i := strings.LastIndex(s.instance, "-"); i < 1 || len(s.instance)-i != 5 {
		t.Errorf("instance %q is not <hostname>-<4 hex digits>", s.instance)
	}
}

func TestSettings_EnvironmentAndPrecedence(t *testing.T) {
	env := map[string]string{
		"FLEET_NATS_URL": "nats://env:1", "FLEET_LEASE_TTL": "5s", "FLEET_KV_REPLICAS": "3",
		"FLEET_EXIT_WITH_PARENT": "true", "FLEET_FLEET": "plant-7",
	}
	s, code, text := parse(t, env, "--nats-url", "nats://flag:1")
	if code != exitOK {
		t.Fatal(text)
	}
	if s.data.url != "nats://flag:1" || s.leaseTTL != 5*time.Second || s.provisioning.Replicas != 3 || !s.exitWithParent || s.provisioning.Fleet != "plant-7" {
		t.Errorf("%+v", s)
	}
}

func TestSettings_AServerOnTheCommandLineKeepsTheEnvironmentOut(t *testing.T) {
	env := map[string]string{"FLEET_NATS_CONTEXT": "prod", "FLEET_CONTROL_NATS_URL": "nats://prod:1"}
	s, code, text := parse(t, env, "--nats-url", "nats://dev:1", "--control-nats-context", "dev")
	if code != exitOK || s.data != (target{url: "nats://dev:1"}) || s.control != (target{url: "nats://dev:1", context: "dev"}) {
		t.Errorf("code %d, %s, data %+v, control %+v", code, text, s.data, s.control)
	}
}

func TestWithoutSettings_KeepsOtherServersOut(t *testing.T) {
	environ := []string{"FLEET_NATS_CONTEXT=prod", "UNRELATED=stays", "FLEET_FLEET=x"}
	if got := WithoutSettings(environ); len(got) != 1 || got[0] != "UNRELATED=stays" || environ[0] != "FLEET_NATS_CONTEXT=prod" {
		t.Errorf("left of %v: %v", environ, got)
	}
}

func TestTarget_Override(t *testing.T) {
	data := target{url: "nats://d", context: "dc", creds: "d.creds"}
	for name, tc := range map[string]struct{ o, want target }{
		"nothing":          {target{}, data},
		"a URL":            {target{url: "nats://c"}, target{"nats://c", "", "d.creds"}},
		"a context":        {target{context: "cc"}, target{"nats://d", "cc", "d.creds"}},
		"credentials":      {target{creds: "c.creds"}, target{"nats://d", "dc", "c.creds"}},
		"all of the three": {target{"nats://c", "cc", "c.creds"}, target{"nats://c", "cc", "c.creds"}},
	} {
		if got := data.override(tc.o); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestSettings_BadValuesNameTheFlag(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		args []string
		want string
	}{
		{nil, []string{"--nats-url", "nats://u:s3cret@h:a:b"}, "--nats-url"},
		{nil, []string{"--nats-url", "http://h"}, `scheme "http"`},
		{nil, []string{"--control-nats-url", "nats://"}, "--control-nats-url"},
		{nil, []string{"--fleet", "Fleet"}, "--fleet"},
		{nil, []string{"--kv-replicas", "2"}, "--kv-replicas"},
		{nil, []string{"--kv-storage", "tape"}, "--kv-storage"},
		{nil, []string{"--kv-max-bytes", "-1"}, "--kv-max-bytes"},
		{nil, []string{"--lease-ttl", "10ms"}, "--lease-ttl"},
		{nil, []string{"--log-level", "loud"}, "--log-level"},
		{nil, []string{"--log-format", "xml"}, "--log-format"},
		{nil, []string{"--nats-url", "nats://a", "--nats-context", "b"}, "exclude each other"},
		{map[string]string{"FLEET_NATS_URL": "nats://a", "FLEET_NATS_CONTEXT": "b"}, nil, "exclude each other"},
		{nil, []string{"extra"}, `unexpected argument "extra"`},
		{map[string]string{"FLEET_KV_REPLICAS": "many"}, nil, `FLEET_KV_REPLICAS="many"`},
	} {
		_, code, text := parse(t, tc.env, tc.args...)
		if code != exitUsage || !strings.Contains(text, tc.want) || strings.Contains(text, "s3cret") {
			t.Errorf("%v %v: code %d, %s", tc.env, tc.args, code, text)
		}
	}
}

func TestMain_UsageErrors(t *testing.T) {
	run := func(args ...string) (int, string, string) {
		var stdout, stderr strings.Builder
		spec := Spec{Name: "fleet-test", Usage: "tests", Setup: func(context.Context, *cli.Context, *Runtime) error { return nil }}
		code := Main(t.Context(), append([]string{"fleet-test"}, args...), func(string) string { return "" }, &stdout, &stderr, spec)
		return code, stdout.String(), stderr.String()
	}
	if code, stdout, stderr := run("--no-such-flag"); code != exitUsage || !strings.Contains(stderr, "-no-such-flag") || stdout != "" {
		t.Errorf("unknown flag: code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, stdout, _ := run("--version"); code != exitOK || !strings.Contains(stdout, BuildVersion()) {
		t.Errorf("--version: code %d, %q", code, stdout)
	}
	code, stdout, _ := run("--help")
	if code != exitOK || !strings.Contains(stdout, "--nats-url") || !strings.Contains(stdout, "FLEET_NATS_URL") || strings.Contains(stdout, "fault-points") {
		t.Errorf("--help: code %d, %s", code, stdout)
	}
}
