package sim

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent/agenttest"
	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

// simulate runs a fleet until the test ends or the returned function is called.
func simulate(t *testing.T, cfg Config) (*Fleet, func()) {
	t.Helper()
	cfg.Prefix = "dev-"
	cfg.Protocol.Heartbeat = 100 * time.Millisecond
	cfg.Protocol.ConnectJitter, cfg.Protocol.ResyncJitter = 10*time.Millisecond, 10*time.Millisecond
	cfg.Protocol.Ask = protocol.Backoff{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return f, stop
}

func web(c Config, i int) fleet.Pair { return fleet.Pair{Device: c.ID(i), Deployment: "web"} }

func TestFleet_RunsWhatItIsTold(t *testing.T) {
	server := fleettest.NATS(t)
	nc := server.Conn(t)
	b, r := agenttest.NewBuckets(t, nc), agenttest.NewReconciler(t, nc)
	cfg := Config{
		Conns: []*nats.Conn{server.Conn(t), server.Conn(t)}, Devices: 24, Prefix: "dev-",
		Labels: []Cycle{{Key: "region", Values: []string{"north", "south"}}},
		Skews:  map[fleet.DeviceID]time.Duration{"dev-0003": -400_000 * time.Hour},
	}
	hashes := map[int]string{}
	for i := range 12 {
		hashes[i] = r.Put(web(cfg, i), "one")
	}
	simulate(t, cfg)
	for i, hash := range hashes {
		b.WantReport(web(cfg, i), fleet.PhaseRunning, hash)
	}
	if at := b.Report(web(cfg, 2)).LastEventAt; !strings.HasPrefix(at, "19") {
		t.Errorf("dev-0003 has a wrong clock but says %s", at)
	}
	for _, bucket := range []string{fleet.BucketDeviceInfo, fleet.BucketDeviceHeartbeat} {
		fleettest.Eventually(t, agenttest.Wait, "every device is in "+bucket, func() bool { return b.Count(bucket) == 24 })
	}
	if info, ok := b.Info("dev-0002"); !ok || info.Labels["region"] != "south" || info.Inventory["model"] == "" {
		t.Errorf("info of dev-0002: %+v", info)
	}
	failing := r.PutScore(web(cfg, 20), fleet.Score{Type: "sim", Data: []byte(`{"fail":"no image"}`)})
	if got := b.WantReport(web(cfg, 20), fleet.PhaseFailed, failing).LastError; got != "no image" {
		t.Errorf("last error %q", got)
	}
}

// TestFleet_Remembers: with a data directory a restart changes no report, and needs no reconciler.
func TestFleet_Remembers(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b, r := agenttest.NewBuckets(t, nc), agenttest.NewReconciler(t, nc)
	cfg := Config{Conns: []*nats.Conn{nc}, Devices: 4, Prefix: "dev-", DataDir: t.TempDir()}
	hash := r.Put(web(cfg, 0), "one")
	_, stop := simulate(t, cfg)
	before := b.WantReport(web(cfg, 0), fleet.PhaseRunning, hash)
	key := fleet.StateKey(web(cfg, 0))
	stop()
	revision := b.Revision(fleet.BucketDeviceState, key)
	r.Answer(agenttest.Answers{Code: fleet.CodeUnavailable})
	cfg.Delay = Range{Min: 100 * time.Millisecond, Max: 200 * time.Millisecond}
	simulate(t, cfg)
	fleettest.Eventually(t, agenttest.Wait, "the report is said again", func() bool {
		return b.Revision(fleet.BucketDeviceState, key) > revision
	})
	if after := b.Report(web(cfg, 0)); after != before {
		t.Errorf("the report changed from %+v to %+v", before, after)
	}
}

func TestFleet_Silence(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b, r := agenttest.NewBuckets(t, nc), agenttest.NewReconciler(t, nc)
	cfg := Config{Conns: []*nats.Conn{nc}, Devices: 2, Prefix: "dev-"}
	f, _ := simulate(t, cfg)
	beat := func(i int) uint64 {
		return b.Revision(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey(cfg.ID(i)))
	}
	fleettest.Eventually(t, agenttest.Wait, "both live", func() bool { return beat(0) > 0 && beat(1) > 0 })
	f.Silence("dev-0001", true)
	f.Silence("dev-0001", true)
	f.Silence("dev-0001", false) // there is still another reason
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	r.Put(web(cfg, 0), "one")
	silent := beat(0)
	for range 5 {
		other := beat(1)
		fleettest.Eventually(t, agenttest.Wait, "the other one lives", func() bool { return beat(1) > other })
	}
	if beat(0) > silent+1 { // one may have been under way
		t.Error("a silent device spoke")
	}
	if got := b.Report(web(cfg, 0)); got.Phase != "" {
		t.Errorf("a silent device reported %+v", got)
	}
	f.Silence(AllDevices, false)
	fleettest.Eventually(t, agenttest.Wait, "it is back and runs what it missed", func() bool {
		return b.Report(web(cfg, 0)).Phase == fleet.PhaseRunning
	})
}

func TestFleet_KeepsTheSilencesOfItsConfig(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	b := agenttest.NewBuckets(t, nc)
	cfg := Config{
		Conns: []*nats.Conn{nc}, Devices: 2, Prefix: "dev-",
		Silences: []Silence{{Device: "dev-0001", From: 0, To: 1500 * time.Millisecond}},
	}
	agenttest.NewReconciler(t, nc)
	simulate(t, cfg)
	beat := func(i int) uint64 {
		return b.Revision(fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey(cfg.ID(i)))
	}
	fleettest.Eventually(t, agenttest.Wait, "the other one lives", func() bool { return beat(1) > 0 })
	start := beat(1)
	fleettest.Eventually(t, agenttest.Wait, "it comes back", func() bool { return beat(0) > 0 })
	if n := beat(0) - start; n < 4 {
		t.Errorf("the other one beat only %d times in 1.5 s", n)
	}
}
