package agent_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"harmony.dev/agent/agenttest"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

type workloads = map[fleet.DeploymentName]string

func TestAgent_AppliesReportsAndRemoves(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b, r := agenttest.NewBuckets(t, nc), agenttest.NewReconciler(t, nc)
	first := r.Put(on("web"), "one")
	device := start(t, nc, t.TempDir(), newRuntime())
	device.wantRunning(workloads{"web": "one"})
	b.WantReport(on("web"), fleet.PhaseRunning, first)

	second := r.Put(on("web"), "two")
	bad := r.Put(on("db"), "bad")
	slow := r.Put(on("job"), "slow")
	device.wantRunning(workloads{"web": "two"})
	b.WantReport(on("web"), fleet.PhaseRunning, second)
	if got := b.WantReport(on("db"), fleet.PhaseFailed, bad).LastError; got != "refused: bad" {
		t.Errorf("last error is %q", got)
	}
	b.WantReport(on("job"), fleet.PhasePending, slow)

	fast := r.Put(on("job"), "fast") // interrupts the slow one
	b.WantReport(on("job"), fleet.PhaseRunning, fast)

	malformed := r.PutValue(on("web"), []byte(`{"uid":`))
	b.WantReport(on("web"), fleet.PhaseFailed, malformed)
	device.wantRunning(workloads{"web": "two", "job": "fast"})

	r.Delete(on("web"))
	r.Delete(on("job"))
	device.wantRunning(workloads{})
	b.WantReport(on("job"), fleet.PhasePending, fast) // its success is taken back
}

func TestAgent_SaysWhoItIsAndThatItLives(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	device := start(t, nc, t.TempDir(), newRuntime())
	b := agenttest.NewBuckets(t, nc) // the agent was first: it repeats until there are buckets
	agenttest.NewReconciler(t, nc)
	fleettest.Eventually(t, agenttest.Wait, "the info is there", func() bool {
		info, ok := b.Info(pi)
		return ok && info.Labels["region"] == "north"
	})
	beat := b.Revision(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey("pi-07"))
	fleettest.Eventually(t, agenttest.Wait, "heartbeats go on", func() bool {
		now := b.Revision(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey("pi-07"))
		return now > beat
	})
	if err := device.agent.SetInfo(fleet.DeviceInfo{Labels: map[string]string{"region": "south"}}); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, agenttest.Wait, "the new info is there", func() bool {
		info, ok := b.Info(pi)
		return ok && info.Labels["region"] == "south"
	})
}

func TestAgent_SnapshotsOfManyPages(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	agenttest.NewBuckets(t, nc)
	r := agenttest.NewReconciler(t, nc)
	want := workloads{}
	for _, name := range []fleet.DeploymentName{"a", "b", "c", "d", "e"} {
		r.Put(on(name), "one")
		want[name] = "one"
	}
	device := start(t, nc, t.TempDir(), newRuntime())
	device.wantRunning(want)
}

func TestAgent_LostConnection(t *testing.T) {
	server := fleettest.NATS(t)
	nc, operator := server.Conn(t), server.Conn(t)
	b, r := agenttest.NewBuckets(t, operator), agenttest.NewReconciler(t, operator)
	keep, drop := r.Put(on("keep"), "one"), r.Put(on("drop"), "one")
	device := start(t, nc, t.TempDir(), newRuntime())
	b.WantReport(on("keep"), fleet.PhaseRunning, keep)
	b.WantReport(on("drop"), fleet.PhaseRunning, drop)
	before := b.Revision(fleet.BucketDeviceState, "state.pi-07.keep")
	info := b.Revision(fleet.BucketDeviceInfo, "info.pi-07")

	server.Shutdown()
	fleettest.Eventually(t, agenttest.Wait, "both are disconnected", func() bool { return !nc.IsConnected() && !operator.IsConnected() })
	device.agent.Observe("keep", os.ErrClosed)
	device.wantRunning(workloads{"keep": "one", "drop": "one"})
	r.Forget(on("drop")) // deleted while the device was away
	server.Start()

	device.wantRunning(workloads{"keep": "one"})
	b.WantReport(on("keep"), fleet.PhaseFailed, keep)
	fleettest.Eventually(t, agenttest.Wait, "info and states are said again", func() bool {
		s := b.Revision(fleet.BucketDeviceState, "state.pi-07.keep")
		i := b.Revision(fleet.BucketDeviceInfo, "info.pi-07")
		return s > before && i > info
	})
}

func TestAgent_ResyncSaysEverythingAgain(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b, r := agenttest.NewBuckets(t, nc), agenttest.NewReconciler(t, nc)
	hash := r.Put(on("web"), "one")
	start(t, nc, t.TempDir(), newRuntime())
	b.WantReport(on("web"), fleet.PhaseRunning, hash)
	for _, subject := range []string{fleet.SubjectResyncAll, fleet.ResyncSubject("pi-07")} {
		before := b.Revision(fleet.BucketDeviceState, "state.pi-07.web")
		same := r.Counts().Unchanged
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		fleettest.Eventually(t, agenttest.Wait, "everything is said and asked again", func() bool {
			now := b.Revision(fleet.BucketDeviceState, "state.pi-07.web")
			return now > before && r.Counts().Unchanged > same
		})
	}
}

// TestAgent_NothingTearsDown: neither errors nor incomplete snapshots nor foreign messages nor silence end a
// workload.
func TestAgent_NothingTearsDown(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b, r := agenttest.NewBuckets(t, nc), agenttest.NewReconciler(t, nc)
	hash := r.Put(on("web"), "one")
	device := start(t, nc, t.TempDir(), newRuntime())
	b.WantReport(on("web"), fleet.PhaseRunning, hash)

	asked := func() int { return r.Counts().Asked }
	resync := func() {
		t.Helper()
		before := asked()
		if err := nc.Publish(fleet.SubjectResyncAll, nil); err != nil {
			t.Fatal(err)
		}
		fleettest.Eventually(t, agenttest.Wait, "the agent asks", func() bool { return asked() > before })
	}
	for _, code := range []fleet.Code{fleet.CodeNotFound, fleet.CodeBusy, fleet.CodeInternal, fleet.CodeUnavailable} {
		r.Answer(agenttest.Answers{Code: code})
		resync()
	}
	// Somebody deletes the key by hand: the agent asks; the reconciler does not know it any more, but is young.
	before := asked()
	r.DeleteByHand(on("web"))
	fleettest.Eventually(t, agenttest.Wait, "the agent asks", func() bool { return asked() > before })
	r.Answer(agenttest.Answers{Incomplete: true})
	r.Forget(on("web"))
	resync()
	// An incomplete snapshot adds.
	r.Put(on("db"), "one")
	device.wantRunning(workloads{"web": "one", "db": "one"})
	// A complete one removes.
	r.Answer(agenttest.Answers{})
	resync()
	device.wantRunning(workloads{"db": "one"})
}

func TestAgent_RestartsWithoutNATS(t *testing.T) {
	server, dir := fleettest.NATS(t), t.TempDir()
	nc, operator := server.Conn(t), server.Conn(t)
	b, r := agenttest.NewBuckets(t, operator), agenttest.NewReconciler(t, operator)
	web, bad := r.Put(on("web"), "one"), r.Put(on("db"), "bad")
	device := start(t, nc, dir, newRuntime())
	running, failed := b.WantReport(on("web"), fleet.PhaseRunning, web), b.WantReport(on("db"), fleet.PhaseFailed, bad)
	device.stop()
	before := b.Revision(fleet.BucketDeviceState, "state.pi-07.db")
	server.Shutdown()

	device = start(t, nc, dir, newRuntime()) // a device that was switched off: nothing runs
	device.wantRunning(workloads{"web": "one"})
	server.Start()
	fleettest.Eventually(t, agenttest.Wait, "the reports are said again", func() bool {
		now := b.Revision(fleet.BucketDeviceState, "state.pi-07.db")
		return now > before
	})
	if got := b.Report(on("web")); got != running {
		t.Errorf("the report changed from %+v to %+v", running, got)
	}
	if got := b.Report(on("db")); got != failed {
		t.Errorf("the report changed from %+v to %+v", failed, got)
	}
}

func TestAgent_CorruptedState(t *testing.T) {
	nc, dir := fleettest.NATS(t).Conn(t), t.TempDir()
	agenttest.NewBuckets(t, nc)
	r := agenttest.NewReconciler(t, nc)
	r.Put(on("web"), "one")
	path := filepath.Join(dir, "pi-07.json")
	if err := os.WriteFile(path, []byte("{\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	device := start(t, nc, dir, newRuntime())
	device.wantRunning(workloads{"web": "one"})
	fleettest.Eventually(t, agenttest.Wait, "the file was set aside and written anew", func() bool {
		_, bad := os.Stat(path + ".bad")
		_, good := os.Stat(path)
		return bad == nil && good == nil
	})
	device.stop()
	again := start(t, nc, dir, newRuntime())
	again.wantRunning(maps.Clone(workloads{"web": "one"}))
}
