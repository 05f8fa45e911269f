package dashboard

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/browser"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet"
)

// manyDevices is how many a large fleet has.
const manyDevices = 10_000

// Promise: the overview of 10,000 devices is there at once, and small; a device that changes its state changes its own cell
// and the counts, and nothing moves.
// Budget:  first paint 1 s, 1 MB.
func TestMany_TenThousandDevices(t *testing.T) {
	s := &site{Stack: lab.New(t, lab.Options{Shipped: true}), t: t}
	s.patcher = s.Start(fleet.ServicePatcher, "--kube-qps", "5000", "--kube-burst", "5000")
	s.reconciler = s.Start(fleet.ServiceReconciler, quickReconciler...)
	s.aggregator = s.Start(fleet.ServiceAggregator, "--device-rate", "5000", "--device-burst", "5000")
	s.WaitReady(3)
	began := time.Now()
	s.StartDevices(manyDevices, "--connections", "25", "--delay", "0s..50ms")
	s.mirrored(manyDevices)
	t.Logf("10,000 devices are registered after %s", time.Since(began).Round(time.Second))
	s.apply("everywhere", `{"image":"demo:1"}`, "north", "east", "south", "west")
	s.settled("everywhere", manyDevices, manyDevices, 0, 0, 0)
	t.Logf("10,000 devices run something after %s", time.Since(began).Round(time.Second))

	u := s.serve()
	p := u.page("/", browser.Options{Dark: true, Width: 1400, Height: 1000})
	p.Becomes(within, browser.Count("#grid i.running"), manyDevices)
	p.Becomes(within, state, "well")
	paints := []time.Duration{}
	for range 3 {
		p.Reload()
		load := p.Load()
		paints = append(paints, load.FirstPaint)
		t.Logf("first paint %s, with content %s, loaded %s, %d bytes in %d requests", load.FirstPaint, load.Contentful, load.Loaded, load.Bytes, load.Requests)
		if load.Bytes > 1_000_000 {
			t.Errorf("the overview has %d bytes", load.Bytes)
		}
	}
	s.Measured("first paint of 10,000 devices", slices.Max(paints), time.Second)

	p.Becomes(within, live, "on")
	before := usage(t, u.proc.Pid())
	p.Watch()
	s.report(fleet.Pair{Device: "dev-4711", Deployment: "everywhere"}, fleet.Report{Phase: fleet.PhaseFailed, LastError: "disk full"})
	began = time.Now()
	p.Becomes(within, cellsOf("dev-4711"), []string{"failed"})
	s.Measured("report written: its cell is shown as failed", time.Since(began), 0)
	p.Becomes(within, row("everywhere"), []string{"10000", "9999", "1", "0", "0", "Stalled"})
	p.Becomes(within, browser.Text("#n-failed"), "1")
	p.Becomes(within, state, "degraded")
	p.Stays(5*time.Second, live, "on")
	changed := p.Changes()
	if cells := placed(changed, "#d-", "#grid"); !slices.Equal(cells, []string{"#d-dev-4711: class"}) {
		t.Errorf("of the grid %d things were changed: %.500q", len(cells), cells)
	}
	if other := slices.DeleteFunc(slices.Clone(changed), expected); len(other) > 0 {
		t.Errorf("an update has changed more than what changed: %q", other)
	}
	still(t, p)
	after := usage(t, u.proc.Pid())
	t.Logf("the dashboard takes %d MB, and %.0f %% of a processor with one page open", after.peak>>20, 100*(after.cpu-before.cpu).Seconds()/time.Since(began).Seconds())
	s.mixed()
	p.Becomes(within, row("everywhere"), []string{"10000", "9780", "120", "100", "0", "Reconciling"})
	p.Becomes(within, browser.Count("#grid i.failed"), 120)
	shoot(t, p, "overview-10000")
	p.Accessible()
}

// mixed lets a stretch of devices begin anew, and others fail, here and there.
func (s *site) mixed() {
	s.t.Helper()
	all := map[fleet.Pair]fleet.Report{}
	for i := range 100 {
		all[many(2001+i)] = fleet.Report{Phase: fleet.PhasePending}
	}
	for i := range 119 {
		all[many(3001+i*97%4993)] = fleet.Report{Phase: fleet.PhaseFailed, LastError: "disk full"}
	}
	s.reports(all)
}

func many(device int) fleet.Pair {
	return fleet.Pair{Device: fleet.DeviceID(fmt.Sprintf("dev-%04d", device)), Deployment: "everywhere"}
}

// mirrored waits until so many devices are in the mirror. To list the resources again and again would take the apiserver's time.
func (s *site) mirrored(n uint64) {
	s.t.Helper()
	s.Eventually(4*time.Minute, "devices in the mirror", func(ctx context.Context) error {
		stream, err := s.NATS.JetStream().Stream(ctx, fleet.StreamName(fleet.BucketResources))
		if err != nil {
			return err
		}
		if have := stream.CachedInfo().State.NumSubjects; have < n+3 { // and _synced, _lease, _epoch
			return fmt.Errorf("%d keys", have)
		}
		return nil
	})
}

// placed are the changes of elements whose places begin so.
func placed(changes []string, prefixes ...string) (out []string) {
	for _, c := range changes {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(c, prefix) }) {
			out = append(out, c)
		}
	}
	return out
}

// expected reports whether a change belongs to one device that fails, or to the time that goes by.
func expected(change string) bool {
	for _, place := range []string{"#d-dev-4711: class", "#dep-everywhere", "#n-", "#banner", "#asof", "#when-", "time"} {
		if strings.HasPrefix(change, place) {
			return true
		}
	}
	return strings.Contains(change, " > time")
}

// used is what a process has taken.
type used struct {
	cpu  time.Duration
	peak int64 // bytes
}

// usage reads what a process has taken: stat and status of proc(5).
func usage(t *testing.T, pid int) used {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the name, which may have anything in it
	fields := strings.Fields(rest)
	user, errUser := strconv.ParseInt(fields[11], 10, 64)
	system, errSystem := strconv.ParseInt(fields[12], 10, 64)
	if errUser != nil || errSystem != nil {
		t.Fatalf("read the times of %q", stat)
	}
	const tick = time.Second / 100 // USER_HZ, the same on all machines that Go runs on
	u := used{cpu: time.Duration(user+system) * tick}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			u.peak = kib << 10
		}
	}
	return u
}
