package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// backedUp is a fleet at rest, a backup of it, and the fleet's server.
func backedUp(t *testing.T) (o *operator, url, dir string) {
	t.Helper()
	o, url = startFleet(t)
	dir = filepath.Join(t.TempDir(), "backup")
	code, stdout, stderr := invoke(t.Context(), "backup", dir, "--nats-url", url, "-o", "json")
	var m manifest
	if err := json.Unmarshal([]byte(stdout), &m); code != 0 || err != nil || len(m.Buckets) != len(kept) || m.Fleet != "fleet" {
		t.Fatalf("exit %d, %s, stderr %s: %v", code, stdout, stderr, err)
	}
	return o, url, dir
}

// state is what there is of every bucket, to tell whether anything was changed.
func (o *operator) streams() map[string]string {
	o.t.Helper()
	js, err := o.nc.JetStream()
	if err != nil {
		o.t.Fatal(err)
	}
	all := map[string]string{}
	for info := range js.Streams() {
		all[info.Config.Name] = fmt.Sprintf("%s %+v %v", info.Created, info.State, info.Config.Subjects)
	}
	return all
}

// values are the values in a bucket by key.
func (o *operator) values(bucket string) map[string]string {
	o.t.Helper()
	all := map[string]string{}
	err := kv.Open(o.nc, bucket, kv.Provisioning{}).Scan(o.t.Context(), func(m kv.Message) {
		if delete(all, m.Key); m.Op == kv.Put {
			all[m.Key] = string(m.Value)
		}
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return all
}

func TestBackup_RoundTrip(t *testing.T) {
	o, url, dir := backedUp(t)
	before := map[string]map[string]string{}
	for _, b := range kept {
		before[b] = o.values(b)
	}
	delete(before[fleet.BucketResources], fleet.KeySynced)
	for _, b := range kept {
		o.store(b, "later.x", "{}", nil)
	}
	now := o.streams()
	args := []string{"restore", dir, "--nats-url", url}

	code, stdout, stderr := invoke(t.Context(), append(args, "--yes")...)
	if code != 1 || !strings.Contains(stderr, "--replace") || !strings.Contains(stderr, "nothing was changed") || stdout != "" {
		t.Errorf("of what exists: exit %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	code, stdout, stderr = invoke(t.Context(), append(args, "--replace")...)
	if code != 2 || !strings.Contains(stderr, "--yes") {
		t.Errorf("without a terminal: exit %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	code, stdout, stderr = invoke(t.Context(), append(args, "--replace", "--dry-run", "-o", "json")...)
	var plan restoration
	if err := json.Unmarshal([]byte(stdout), &plan); code != 0 || err != nil || !plan.DryRun || len(plan.Steps) != len(kept) || plan.Steps[0].Action != "replace" {
		t.Errorf("dry run: exit %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	if got := o.streams(); !maps.Equal(got, now) {
		t.Fatalf("something was changed: %v became %v", now, got)
	}

	code, stdout, stderr = invoke(t.Context(), append(args, "--replace", "--yes", "-o", "json")...)
	var done restoration
	if err := json.Unmarshal([]byte(stdout), &done); code != 0 || err != nil || done.Ready == nil || !*done.Ready {
		t.Fatalf("exit %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	for _, b := range kept {
		if got := o.values(b); !maps.Equal(got, before[b]) {
			t.Errorf("%s had %v, has %v", b, before[b], got)
		}
	}
	if got := o.values(fleet.BucketLeases); len(got) != 1 {
		t.Errorf("the leases were touched: %v", got)
	}
	if left := o.streams(); len(left) != len(buckets) {
		t.Errorf("streams left: %v", left)
	}
}

func TestBackup_Confirmation(t *testing.T) {
	o, url, dir := backedUp(t)
	now := o.streams()
	for answer, want := range map[string]int{"n\n": 1, "": 1, "what?\n": 1, "y\n": 0} {
		var out, stderr bytes.Buffer
		p := &program{getenv: func(string) string { return "" }, out: &out, err: &stderr, person: person{in: strings.NewReader(answer), terminal: true}}
		code := p.run(t.Context(), []string{"fleet", "restore", dir, "--replace", "--nats-url", url})
		if code != want || !strings.Contains(stderr.String(), "[y/N]") || !strings.Contains(stderr.String(), "are lost") {
			t.Errorf("%q: exit %d, %s", answer, code, stderr.String())
		}
		if same := maps.Equal(o.streams(), now); same != (want != 0) {
			t.Errorf("%q: as before: %v", answer, same)
		}
		now = o.streams()
	}
}

func TestBackup_RefusesWhatIsThereAndWhatIsMissing(t *testing.T) {
	o, url, dir := backedUp(t)
	if code, _, stderr := invoke(t.Context(), "backup", dir, "--nats-url", url); code != 1 || !strings.Contains(stderr, "nothing is overwritten") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if js, err := o.nc.JetStream(); err != nil || js.DeleteStream("KV_device-info") != nil {
		t.Fatal("the bucket is there still")
	}
	other := filepath.Join(t.TempDir(), "deep", "other")
	if code, _, stderr := invoke(t.Context(), "backup", other, "--nats-url", url); code != 1 || !strings.Contains(stderr, "bucket device-info") || !strings.Contains(stderr, "no backup was written") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if left, err := os.ReadDir(filepath.Dir(other)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if code, _, stderr := invoke(t.Context(), "backup", other, "--nats-url", url, "--bucket", "device-state", "--bucket", "desired-state"); code != 0 {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if m, err := readManifest(other); err != nil || fmt.Sprint(m.names()) != "[device-state desired-state]" {
		t.Errorf("%v, %v", m.names(), err)
	}
	// A missing bucket is restored without --replace.
	code, _, stderr := invoke(t.Context(), "restore", dir, "--nats-url", url, "--yes", "--bucket", "device-info", "--without-resources")
	if code != 0 || o.values(fleet.BucketDeviceInfo)["info.pi-1"] != "{}" {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestRestore_RefusesADamagedBackupBeforeAnythingIsChanged(t *testing.T) {
	o, url, dir := backedUp(t)
	now := o.streams()
	archive := filepath.Join(fleet.BucketDesiredState, archiveFile)
	for name, c := range map[string]struct {
		damage func(dir string)
		want   string
	}{
		"flipped byte":          {func(d string) { flip(t, filepath.Join(d, archive)) }, "is damaged"},
		"flipped configuration": {func(d string) { flip(t, filepath.Join(d, fleet.BucketDeviceInfo, metaFile)) }, "is damaged"},
		"flipped manifest":      {func(d string) { flip(t, filepath.Join(d, manifestFile)) }, "is damaged"},
		"edited manifest": {func(d string) {
			edit(t, filepath.Join(d, manifestFile), `"lastSequence": 1`, `"lastSequence": 2`)
		}, "is damaged"},
		"missing file":     {func(d string) { remove(t, filepath.Join(d, archive)) }, "is missing"},
		"missing bucket":   {func(d string) { remove(t, filepath.Join(d, fleet.BucketDeviceState)) }, "is missing"},
		"missing manifest": {func(d string) { remove(t, filepath.Join(d, manifestFile)) }, "no whole backup"},
		"cut":              {func(d string) { cut(t, filepath.Join(d, archive)) }, "is damaged"},
		"another fleet's":  {func(d string) { rewrite(t, d, func(m *manifest) { m.Fleet = "other" }) }, `is of fleet "fleet"`},
		"a newer server's": {func(d string) { rewrite(t, d, func(m *manifest) { m.Server = "99.0.0" }) }, "upgrade the server"},
		"another format":   {func(d string) { rewrite(t, d, func(m *manifest) { m.Format = 2 }) }, "format 2"},
		"buckets exchanged": {func(d string) {
			rewrite(t, d, func(m *manifest) {
				m.Buckets[0].Archive, m.Buckets[1].Archive = m.Buckets[1].Archive, m.Buckets[0].Archive
			})
		}, "is damaged"},
	} {
		copied := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		c.damage(copied)
		code, stdout, stderr := invoke(t.Context(), "restore", copied, "--nats-url", url, "--replace", "--yes")
		if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, stdout %s, stderr %s", name, code, stdout, stderr)
		}
		if got := o.streams(); !maps.Equal(got, now) {
			t.Fatalf("%s: something was changed: %v became %v", name, now, got)
		}
	}
}

func flip(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, file, old, now string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil && !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s has no %s", file, old)
	}
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(b, []byte(old), []byte(now), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, file string) {
	t.Helper()
	if err := os.Truncate(file, 50); err != nil {
		t.Fatal(err)
	}
}

// rewrite changes a manifest, and its checksum with it.
func rewrite(t *testing.T, dir string, change func(*manifest)) {
	t.Helper()
	m, err := readManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(&m)
	m.Checksum, err = m.sum()
	remove(t, filepath.Join(dir, manifestFile))
	if err = errors.Join(err, writeManifest(dir, m)); err != nil {
		t.Fatal(err)
	}
}

func TestRestore_RefusesAnotherFleetsBuckets(t *testing.T) {
	_, _, dir := backedUp(t)
	o, url := startOperator(t)
	if err := kv.Open(o.nc, fleet.BucketDeviceState, kv.Provisioning{Fleet: "other"}).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := o.streams()
	code, _, stderr := invoke(t.Context(), "restore", dir, "--nats-url", url, "--replace", "--yes")
	if code != 1 || !strings.Contains(stderr, `bucket device-state here of "other"`) || !maps.Equal(o.streams(), now) {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// A failure on the way says what state each bucket is in, and the command to go on does.
func TestRestore_FailsInTheMiddle(t *testing.T) {
	o, url, dir := backedUp(t)
	o.store(fleet.BucketDeviceState, "state.pi-9.later", `{}`, nil)
	// The third bucket's archive is read twice while it is loaded. The first time it is whole.
	rewritten := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(rewritten, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	breaks(t, filepath.Join(rewritten, fleet.BucketDeviceInfo, archiveFile), 3)
	code, stdout, stderr := invoke(t.Context(), "restore", rewritten, "--nats-url", url, "--replace", "--yes")
	if code != 1 || stdout != "" {
		t.Fatalf("exit %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	for _, want := range []string{
		"fleet-resources, desired-state: restored", "device-state, device-heartbeat: as it was before", "device-info: CLOSED", "--take-over --yes --bucket device-info",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it does not say %q: %s", want, stderr)
		}
	}
	if o.values(fleet.BucketDeviceState)["state.pi-9.later"] == "" {
		t.Error("what is as it was before is not")
	}
	if err := kv.Open(o.nc, fleet.BucketDeviceInfo, kv.Provisioning{Fleet: "fleet"}).Ensure(t.Context()); err == nil {
		t.Error("the owner could create what is closed")
	}
	code, _, stderr = invoke(t.Context(), "restore", dir, "--nats-url", url, "--replace", "--take-over", "--yes", "--bucket", "device-info")
	if code != 0 || o.values(fleet.BucketDeviceInfo)["info.pi-1"] != "{}" || len(o.streams()) != len(buckets) {
		t.Errorf("to go on: exit %d, %s; streams %v", code, stderr, o.streams())
	}
}

// breaks makes of a file one that is whole when it is opened so often, and then cut.
func breaks(t *testing.T, file string, whole int) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, file)
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range whole + 1 {
			if i == whole {
				content = content[:len(content)/2]
			}
			f, err := os.OpenFile(file, os.O_WRONLY, 0) // waits until somebody reads
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = f.Write(content)
			_ = f.Close()
			time.Sleep(20 * time.Millisecond) // the next is opened after this one was read
		}
	}()
	t.Cleanup(func() {
		// Whoever is not read by anybody is let go.
		if f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
			defer func() { _ = f.Close() }()
		}
		<-done
	})
}

// What was killed while it wrote is never taken for a backup.
func TestBackup_KilledOnTheWay(t *testing.T) {
	o, url := startFleet(t)
	for i := range 3000 {
		o.store(fleet.BucketDeviceState, fmt.Sprintf("state.pi-%d.web", i), `{"phase":"Running"}`, nil)
	}
	parent := t.TempDir()
	run := func(name string) (*exec.Cmd, string) {
		dir := filepath.Join(parent, name)
		cmd := exec.Command(os.Args[0], "backup", dir, "--nats-url", url)
		cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
		return cmd, dir
	}
	began := time.Now()
	cmd, dir := run("whole")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := readManifest(dir); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	const kills = 24
	killed, unfinished := 0, 0
	for i := range kills {
		cmd, dir := run(fmt.Sprintf("killed-%d", i))
		sig := syscall.SIGKILL
		if i%3 == 2 {
			sig = syscall.SIGINT
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.AfterFunc(took*time.Duration(i+1)/kills, func() { _ = cmd.Process.Signal(sig) })
		err := cmd.Wait()
		after.Stop()
		if err != nil {
			killed++
		}
		if _, missing := os.Stat(dir); missing == nil {
			whole(t, dir)
		} else if err == nil {
			t.Errorf("it says that it is done: %v", missing)
		}
		left, _ := filepath.Glob(filepath.Join(parent, fmt.Sprintf(".killed-%d.*", i)))
		if sig == syscall.SIGINT && len(left) > 0 {
			t.Errorf("interrupted, it leaves %v", left)
		}
		for _, l := range left {
			unfinished++
			code, _, stderr := invoke(t.Context(), "restore", l, "--nats-url", url, "--replace", "--yes")
			if code != 1 || !strings.Contains(stderr, "no whole backup") {
				t.Errorf("an unfinished one: exit %d, %s", code, stderr)
			}
		}
	}
	if killed < 3 || unfinished < 2 {
		t.Errorf("%d of %d were killed on the way, %d had begun to write: it is not what is tested", killed, kills, unfinished)
	}
	t.Logf("%d of %d were killed on the way, %d had begun to write", killed, kills, unfinished)
}

// whole asserts that a backup is one.
func whole(t *testing.T, dir string) {
	t.Helper()
	m, err := readManifest(dir)
	if err != nil || len(m.Buckets) != len(kept) {
		t.Fatalf("%s is there and has no manifest: %v", dir, err)
	}
	for _, b := range m.Buckets {
		if _, err := verifyBucket(dir, m, b); err != nil {
			t.Errorf("%s is there and not whole: %v", dir, err)
		}
	}
}

func TestRestore_NeedsANewServer(t *testing.T) {
	for v, want := range map[[2]string]bool{
		{"2.15.2", "2.15.9"}: false, {"2.15.2", "2.16.0"}: true, {"2.14.0", "2.15.0"}: true, {"3.0.0", "2.15.0"}: false, {"x", "2.15.0"}: false,
	} {
		if older(v[0], v[1]) != want {
			t.Errorf("%s is older than %s: %v", v[0], v[1], !want)
		}
	}
}
