package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// restoring is a restore in a process of its own, so that it can be killed.
func restoring(dir, url string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "restore", dir, "--nats-url", url, "--replace", "--yes", "--wait", "0s")
	cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// A restore that is killed, wherever, is finished by the command that the next one prints, or undone where that is offered.
func TestRestore_KilledOnTheWay(t *testing.T) {
	o, url := startFleet(t)
	for i := range 2000 {
		o.store(fleet.BucketDeviceState, fmt.Sprintf("state.pi-%d.web", i), `{"phase":"Running"}`, nil)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	if code, _, stderr := invoke(t.Context(), "backup", dir, "--nats-url", url); code != 0 {
		t.Fatal(stderr)
	}
	before := map[string]map[string]string{}
	for _, b := range kept {
		before[b] = o.values(b)
	}
	delete(before[fleet.BucketResources], fleet.KeySynced)
	began := time.Now()
	if out, err := restoring(dir, url).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	took := time.Since(began)
	const kills = 24
	killed, locked, givenBack := 0, 0, 0
	for i := range kills {
		for _, b := range kept {
			o.store(b, "later.x", "{}", nil)
		}
		cmd := restoring(dir, url)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.AfterFunc(took*time.Duration(i+1)/kills, func() { _ = cmd.Process.Kill() })
		if err := cmd.Wait(); err != nil {
			killed++
		}
		after.Stop()
		code, stderr := 0, ""
		if i%2 == 0 {
			code, _, stderr = invoke(t.Context(), "restore", dir, "--nats-url", url, "--replace", "--yes", "--wait", "0s")
		} else {
			code, _, stderr = invoke(t.Context(), "restore", dir, "--nats-url", url, "--replace", "--dry-run")
		}
		if code != 0 {
			locked++
			closed := printed(t, stderr, `open what it closed: +fleet (.*)`)
			if offered := slices.Concat(closed, printed(t, stderr, `take its mark away: +fleet (.*)`)); offered != nil {
				givenBack++
				if code, _, stderr := invoke(t.Context(), append(offered, "--nats-url", url)...); code != 0 {
					t.Errorf("%q: exit %d, %s", offered, code, stderr)
				}
				if bucket := offered[len(offered)-1]; closed != nil && o.values(bucket)["later.x"] == "" {
					t.Errorf("%s was given back without what it had", bucket)
				}
			}
			args := printed(t, stderr, `go on: +fleet (.*)`)
			if code, _, stderr := invoke(t.Context(), append(args, "--wait", "0s", "--nats-url", url)...); code != 0 {
				t.Fatalf("kill %d: %q: exit %d, %s", i, args, code, stderr)
			}
		} else if code, _, stderr := invoke(t.Context(), "restore", dir, "--nats-url", url, "--replace", "--yes", "--wait", "0s"); code != 0 {
			t.Fatalf("kill %d: exit %d, %s", i, code, stderr)
		}
		for _, b := range kept {
			if got := o.values(b); !maps.Equal(got, before[b]) {
				t.Fatalf("kill %d: %s had %d values, has %d", i, b, len(before[b]), len(got))
			}
		}
		if left := o.streams(); len(left) != len(buckets) {
			t.Fatalf("kill %d: streams left: %v", i, left)
		}
	}
	t.Logf("%d of %d were killed on the way, %d had begun, %d times a bucket was given back", killed, kills, locked, givenBack)
	if killed < 8 || locked < 3 || givenBack < 1 {
		t.Errorf("that is not what is tested")
	}
}

// printed returns the arguments of a command that was printed, nil when there is none.
func printed(t *testing.T, text, pattern string) []string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	return strings.Fields(m[1])
}

// A second restore is refused while one has begun, and neither changes anything nor says that it has.
func TestRestore_ASecondOne(t *testing.T) {
	o, url, dir := backedUp(t)
	meta, err := os.ReadFile(filepath.Join(dir, fleet.BucketDesiredState, metaFile))
	if err != nil {
		t.Fatal(err)
	}
	first, err := kv.NewRestore(kv.Open(o.nc, fleet.BucketDesiredState, kv.Provisioning{}), meta, time.Now())
	if err == nil {
		err = first.Lock(t.Context(), false)
	}
	if err == nil {
		err = first.Close(t.Context(), true)
	}
	if err != nil {
		t.Fatal(err)
	}
	now := o.streams()
	for _, more := range []string{"--yes", "--dry-run"} {
		code, _, stderr := invoke(t.Context(), "restore", dir, "--nats-url", url, "--replace", more)
		if code != 1 || !strings.Contains(stderr, "bucket desired-state is being restored") || !strings.Contains(stderr, "--take-over") ||
			!strings.Contains(stderr, "--give-back --bucket desired-state") || strings.Contains(stderr, "desired-state: as it was before") {
			t.Errorf("exit %d, %s", code, stderr)
		}
		if got := o.streams(); !maps.Equal(got, now) {
			t.Errorf("something was changed: %v became %v", now, got)
		}
	}
	code, stdout, _ := invoke(t.Context(), "doctor", "--nats-url", url)
	if code != 1 || !strings.Contains(stdout, "BucketRestoring") || !strings.Contains(stdout, "--give-back --bucket desired-state") {
		t.Errorf("doctor: exit %d, %s", code, stdout)
	}
	code, _, stderr := invoke(t.Context(), "restore", dir, "--nats-url", url, "--give-back", "--bucket", "desired-state")
	if code != 0 || len(o.streams()) != len(buckets) || o.values(fleet.BucketDesiredState)["_applied.web"] == "" {
		t.Errorf("give back: exit %d, %s; %v", code, stderr, o.streams())
	}
}

func TestRestore_OldDeviceInfoAlone(t *testing.T) {
	o, url, dir := backedUp(t)
	rewrite(t, dir, func(m *manifest) { m.At = time.Now().Add(-8 * 24 * time.Hour) })
	now := o.streams()
	args := []string{"restore", dir, "--nats-url", url, "--replace", "--yes", "--wait", "0s", "--bucket", "device-info"}
	code, _, stderr := invoke(t.Context(), args...)
	if code != 1 || !strings.Contains(stderr, "8 days old") || !maps.Equal(o.streams(), now) {
		t.Errorf("alone: exit %d, %s", code, stderr)
	}
	for _, more := range [][]string{{"--bucket", "fleet-resources"}, {"--without-resources"}} {
		if code, _, stderr := invoke(t.Context(), append(args, more...)...); code != 0 {
			t.Errorf("with %q: exit %d, %s", more, code, stderr)
		}
	}
}

// A mirror that was made anew since the backup has forgotten who was deleted before, unless it was restored itself.
func TestRestore_DeviceInfoBesideANewMirror(t *testing.T) {
	o, url, dir := backedUp(t)
	if js, err := o.nc.JetStream(); err != nil || js.DeleteStream(fleet.StreamName(fleet.BucketResources)) != nil {
		t.Fatal("the mirror could not be deleted")
	}
	args := []string{"restore", dir, "--nats-url", url, "--replace", "--yes", "--wait", "0s", "--bucket", "device-info"}
	if code, _, stderr := invoke(t.Context(), args...); code != 1 || !strings.Contains(stderr, "fleet-resources cannot be seen") {
		t.Errorf("without a mirror: exit %d, %s", code, stderr)
	}
	if err := kv.Open(o.nc, fleet.BucketResources, kv.Provisioning{Fleet: "fleet"}).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := invoke(t.Context(), args...); code != 1 || !strings.Contains(stderr, "made anew since the backup") {
		t.Errorf("beside a new one: exit %d, %s", code, stderr)
	}
	if code, _, stderr := invoke(t.Context(), "restore", dir, "--nats-url", url, "--replace", "--yes", "--wait", "0s", "--bucket", "fleet-resources"); code != 0 {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	if code, _, stderr := invoke(t.Context(), args...); code != 0 {
		t.Errorf("beside a restored one: exit %d, %s", code, stderr)
	}
}

// What no server would take back is not in a backup, and the backup says so.
func TestBackup_LeavesOutWhatNoServerTakes(t *testing.T) {
	var out strings.Builder
	p := &program{err: &out}
	p.sayLeftOut("device-state", kv.LeftOut{Count: 7, Keys: []string{"state.pi-1.\x1b"}})
	if got := out.String(); !strings.Contains(got, "device-state: 7 messages are left out") || strings.Contains(got, "\x1b") {
		t.Error(got)
	}
}
