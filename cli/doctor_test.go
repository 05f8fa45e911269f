package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/cli/doctor"
	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

var buckets = []string{
	fleet.BucketResources, fleet.BucketDesiredState, fleet.BucketLeases,
	fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat,
}

// startFleet is an operator at rest, whose buckets have one device and one deployment.
func startFleet(t *testing.T) (*operator, string) {
	t.Helper()
	o, url := startOperator(t)
	for _, s := range fleet.Services() {
		o.serve(s, true, nil)
	}
	for _, b := range buckets {
		if err := kv.Open(o.nc, b, kv.Provisioning{Fleet: "fleet"}).Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	own := nats.Header{fleet.HeaderEpoch: {"7"}}
	o.store(fleet.BucketResources, "device.pi-1", `{"uid":"u"}`, own)
	o.store(fleet.BucketResources, fleet.KeySynced, `{"epoch":7}`, own)
	o.store(fleet.BucketLeases, fleet.KeyEpoch, `{"instance":"a","lease":6}`, nil)
	o.store(fleet.BucketDesiredState, "_applied.web", `{"uid":"u","generation":1}`, own)
	o.store(fleet.BucketDeviceInfo, "info.pi-1", `{}`, nil)
	o.store(fleet.BucketDeviceHeartbeat, "heartbeat.pi-1", `{}`, nil)
	return o, url
}

// store publishes as anybody may, under any key.
func (o *operator) store(bucket, key, value string, h nats.Header) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 10*time.Second)
	defer cancel()
	m, err := o.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: fleet.KeySubject(bucket, key), Data: []byte(value), Header: h})
	if err != nil || !strings.Contains(string(m.Data), `"seq"`) || strings.Contains(string(m.Data), `"error"`) {
		o.t.Fatalf("publish %q: %v, %s", key, err, m.Data)
	}
}

func examine(t *testing.T, url string, args ...string) (int, doctor.Report) {
	t.Helper()
	code, stdout, stderr := invoke(t.Context(), append([]string{"doctor", "--nats-url", url, "--wait", "4s", "-o", "json", "--limit", "0"}, args...)...)
	var r doctor.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("exit %d, stderr %q, stdout %s: %v", code, stderr, stdout, err)
	}
	if r.Healthy != (code == 0) {
		t.Errorf("exit %d with healthy %v", code, r.Healthy)
	}
	return code, r
}

// paste runs a command as a person would, in a shell whose nats is the public one.
func paste(t *testing.T, command string) string {
	t.Helper()
	bin, err := filepath.Abs("../bin")
	if err == nil {
		_, err = os.Stat(filepath.Join(bin, "nats"))
	}
	if err != nil {
		t.Fatalf("the nats command is missing: 'make peers' builds it: %v", err)
	}
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
	cmd.Dir = home
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "NO_COLOR=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	if _, err := os.Stat(filepath.Join(home, "hacked")); err == nil {
		t.Fatalf("%s ran what a device wrote", command)
	}
	return string(out)
}

// hostile are keys that devices may publish and no KV client would.
var hostile = []string{
	"bad!key", "a.b.c.d", "one", "UPPER.x", "*", ">", "state.*", "\xff\xfe'", "\x1b[31m", "';touch${IFS}hacked;'", "$(touch${IFS}hacked)",
	"`touch${IFS}hacked`", "\u202eabc", "--force", "{{Count}}", `a"b\`, "x\x00y",
	"*.';touch${IFS}hacked;'", "*.$(touch${IFS}hacked)", "*.'\xff;touch${IFS}hacked;'", "*.{{Count}}", // these get into the command itself
}

func TestDoctor_WhatItPrintsMendsWhatItFinds(t *testing.T) {
	o, url := startFleet(t)
	if code, r := examine(t, url); code != 0 {
		t.Fatalf("a fleet at rest: %+v", r)
	}
	illegal := 0
	for _, b := range buckets {
		keys := hostile[:3]
		if b == fleet.BucketDeviceState {
			keys = hostile
		}
		for _, key := range keys {
			o.store(b, key, "x", nil)
			illegal++
		}
	}
	o.store(fleet.BucketDeviceInfo, "info.pi-1", `{"labels":`, nil)
	o.store(fleet.BucketDeviceState, "state.pi-1.web", `{"v":2}`, nil)
	o.store(fleet.BucketDeviceHeartbeat, "heartbeat.pi-1", strings.Repeat(" ", fleet.MaxHeartbeatSize)+"{}", nil)
	o.store(fleet.BucketDeviceInfo, "info.ghost", `{}`, nil)
	o.store(fleet.BucketDesiredState, "pi-1.web", `{}`, nil)

	code, r := examine(t, url, "--grace", "0s")
	counts := map[doctor.Kind]int{}
	for _, f := range r.Findings {
		counts[f.Kind]++
		if f.Bucket == "" || f.Key == "" || f.Revision == 0 || f.Why == "" || f.Mend == "" || f.Command == "" {
			t.Errorf("a finding lacks something: %+v", f)
		}
	}
	want := map[doctor.Kind]int{doctor.IllegalKey: illegal, doctor.MalformedValue: 3, doctor.ForeignWrite: 1, doctor.Orphan: 1}
	if code != 1 || len(counts) != len(want) {
		t.Errorf("exit %d, found %v", code, counts)
	}
	for k, n := range want {
		if counts[k] != n {
			t.Errorf("%d of %s, want %d", counts[k], k, n)
		}
	}
	for _, f := range r.Findings {
		if strings.ContainsFunc(f.Command, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("command %q is not what it shows", f.Command)
		}
	}
	var all []string
	for _, f := range r.Findings {
		all = append(all, f.Command)
	}
	out := paste(t, strings.Join(all, "\n"))
	if _, r := examine(t, url, "--grace", "0s"); !r.Healthy {
		t.Errorf("after all commands %d findings are left, the first %+v\n%s", len(r.Findings), r.Findings[0], out)
	}
}

func TestDoctor_TableShowsNoControlCharacters(t *testing.T) {
	o, url := startFleet(t)
	o.store(fleet.BucketDeviceState, "\x1b[31m\u202e", "x", nil)
	code, stdout, _ := invoke(t.Context(), "doctor", "--nats-url", url, "--wait", "4s", "-o", "wide")
	if code != 1 || strings.ContainsAny(stdout, "\x1b") || !strings.Contains(stdout, "nats --server") {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
}

func TestDoctor_FindsConfigurationHoldAndSilence(t *testing.T) {
	o, url := startOperator(t)
	o.serve(fleet.ServiceAggregator, true, nil)
	for _, b := range buckets[:2] {
		if err := kv.Open(o.nc, b, kv.Provisioning{Fleet: "fleet"}).Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	js, err := o.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{
		Name: "KV_device-info", Subjects: []string{"$KV.device-info.>"}, MaxMsgsPerSubject: 5,
		Metadata: map[string]string{"fleet": "fleet"}, FirstSeq: uint64(time.Now().UnixMicro()),
	}); err != nil {
		t.Fatal(err)
	}
	o.store(fleet.BucketDesiredState, fleet.KeyHold, `{"id":"h'1","deletes":12,"keys":20}`, nats.Header{fleet.HeaderEpoch: {"7"}})
	_, r := examine(t, url)
	kinds := map[doctor.Kind][]doctor.Finding{}
	for _, f := range r.Findings {
		kinds[f.Kind] = append(kinds[f.Kind], f)
	}
	if len(kinds[doctor.ServiceSilent]) != 2 || len(kinds[doctor.BucketMissing]) != 3 || len(kinds[doctor.Held]) != 1 || len(kinds[doctor.BucketConfig]) != 1 {
		t.Fatalf("found %+v", r.Findings)
	}
	if c := kinds[doctor.Held][0].Command; !strings.HasPrefix(c, "fleet hold approve ") || !strings.Contains(c, "h") {
		t.Errorf("approve by %s", c)
	}
	paste(t, kinds[doctor.BucketConfig][0].Command)
	_, r = examine(t, url)
	for _, f := range r.Findings {
		if f.Kind == doctor.BucketConfig {
			t.Errorf("after the edit: %+v", f)
		}
	}
}

func TestDoctor_StopsWithoutAVerdict(t *testing.T) {
	_, url := startFleet(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	code, stdout, stderr := invoke(ctx, "doctor", "--nats-url", url, "--wait", "10s")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "stopped before") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}
