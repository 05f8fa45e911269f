package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/kv"
)

func TestReconciler_EditWritesExactlyTheDifference(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil, "region", "north")
	s.device("d2", nil, "region", "north", "arch", "arm64")
	s.device("d3", nil, "region", "south", "arch", "arm64")
	s.deployment("web", 1, "a", nil, "region", "north")
	s.whole()
	r := s.start(settings{instance: "one"})
	a := wanted(t, "web", "a")
	s.keys(map[string]string{"d1.web": a, "d2.web": a})
	s.rest(r)
	recordFollowsKeys(t, s.tap.all(0), "web")

	kept, before := s.tap.revision("d2.web"), s.tap.length()
	s.deployment("web", 2, "a", nil, "arch", "arm64")
	s.keys(map[string]string{"d2.web": a, "d3.web": a})
	s.rest(r)
	if s.tap.revision("d2.web") != kept {
		t.Error("an unchanged key was written again")
	}
	var written []string
	for _, op := range s.tap.all(before) {
		written = append(written, op.key+" "+op.cause)
	}
	if got := strings.Join(written, ","); got != "d3.web ,d1.web edited,_applied.web " {
		t.Errorf("written: %s", got)
	}
	applied, err := fleet.DecodeApplied([]byte(s.tap.get("_applied.web").value))
	if err != nil || applied != (fleet.Applied{UID: "uid-web", Generation: 2}) {
		t.Errorf("applied is %+v, %v", applied, err)
	}
}

// recordFollowsKeys asserts that the applied record is the last write of its Deployment.
func recordFollowsKeys(t *testing.T, ops []operation, name string) {
	t.Helper()
	last := ""
	for _, op := range ops {
		if strings.HasSuffix(op.key, "."+name) {
			last = op.key
		}
	}
	if last != "_applied."+name {
		t.Errorf("the last write of %s is %q", name, last)
	}
}

func TestReconciler_RestartWritesNothing(t *testing.T) {
	s := newStack(t)
	for i := range 30 {
		s.device(fmt.Sprintf("d%02d", i), nil, "region", "north")
	}
	s.deployment("web", 1, "a", nil, "region", "north")
	s.deployment("log", 7, "l", nil)
	s.deployment("bad", 1, "x", nil, "region", "not%valid")
	s.whole()
	first := s.start(settings{instance: "one"})
	fleettest.Eventually(t, soon, "all keys are there", func() bool { return len(s.tap.values()) == 60 })
	s.rest(first)
	first.stop()
	before := s.tap.length()
	second := s.start(settings{instance: "two"})
	s.rest(second)
	for _, op := range s.tap.all(before) {
		t.Errorf("the restart wrote %s", op.key)
	}
}

func TestReconciler_MirrorWithoutSyncedWritesNothing(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil)
	s.deployment("web", 1, "a", nil)
	r := s.start(settings{instance: "one"})
	fleettest.Eventually(t, soon, "it says what it waits for", func() bool { return r.health.reason("mirror") == "MirrorNotSynced" })
	s.rest(r)
	if got := s.tap.all(0); len(got) != 0 {
		t.Errorf("written: %+v", got)
	}
	if _, err := s.ask("d1", fleet.SnapshotRequest{}); fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Errorf("a device is answered %v", err)
	}
	s.whole()
	s.keys(map[string]string{"d1.web": wanted(t, "web", "a")})
	fleettest.Eventually(t, soon, "it no longer waits", func() bool { return r.health.reason("mirror") == "" })
}

func TestReconciler_MirrorKeyDeletedByHandTearsNothingDown(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil)
	s.device("d2", nil)
	s.deployment("web", 1, "a", nil)
	s.whole()
	r := s.start(settings{instance: "one", quiet: 50 * time.Millisecond})
	a := wanted(t, "web", "a")
	s.keys(map[string]string{"d1.web": a, "d2.web": a})
	before := s.tap.length()
	s.rawDelete(fleet.BucketResources, "deployment.web")
	s.rawDelete(fleet.BucketResources, "device.d1")
	fleettest.Eventually(t, soon, "the markers are set aside", func() bool {
		return slices.Equal(r.health.poison(), []string{"deployment.web", "device.d1"})
	})
	// A replica that has never seen the entries leaves the keys alone as well, and goes on with others.
	r.stop()
	next := s.start(settings{instance: "two", quiet: 50 * time.Millisecond})
	s.device("d3", nil)
	s.deployment("log", 1, "l", nil)
	l := wanted(t, "log", "l")
	s.keys(map[string]string{"d1.web": a, "d2.web": a, "d2.log": l, "d3.log": l})
	s.rest(next)
	for _, op := range s.tap.all(before) {
		if op.deleted {
			t.Errorf("deleted: %+v", op)
		}
	}
	s.deployment("web", 1, "a", nil)
	s.device("d1", nil)
	s.keys(map[string]string{"d1.web": a, "d2.web": a, "d3.web": a, "d1.log": l, "d2.log": l, "d3.log": l})
}

func TestReconciler_LostStreamIsRewritten(t *testing.T) {
	s := newStack(t)
	for i := range 20 {
		s.device(fmt.Sprintf("d%02d", i), nil)
	}
	s.deployment("web", 1, "a", nil)
	s.whole()
	r := s.start(settings{instance: "one", leaseTTL: 2 * time.Second})
	fleettest.Eventually(t, soon, "all keys are there", func() bool { return len(s.tap.values()) == 20 })
	s.rest(r)
	first := s.tap.revision("d00.web")

	if _, err := s.nc.Request("$JS.API.STREAM.DELETE."+fleet.StreamName(fleet.BucketDesiredState), nil, soon); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, soon, "every key is written again", func() bool {
		for i := range 20 {
			if s.tap.revision(fmt.Sprintf("d%02d.web", i)) <= first+25 {
				return false
			}
		}
		return s.tap.revision("_applied.web") > first+25
	})
	s.rest(r)
	for _, op := range s.tap.all(0) {
		if op.deleted {
			t.Errorf("deleted: %+v", op)
		}
	}
}

func TestReconciler_ForeignAndIllegal(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil)
	s.device("d2", nil)
	s.deployment("web", 1, "a", nil)
	s.whole()
	r := s.start(settings{instance: "one", quiet: 100 * time.Millisecond})
	a := wanted(t, "web", "a")
	s.keys(map[string]string{"d1.web": a, "d2.web": a})
	s.rest(r)
	before := s.tap.length()

	s.raw(fleet.BucketDesiredState, "d1.web", "garbage")
	s.raw(fleet.BucketDesiredState, "d2.web", a)
	s.raw(fleet.BucketDesiredState, "_applied.web", `{"uid":"uid-web","generation":99}`)
	s.raw(fleet.BucketDesiredState, "a.b.c", "x")
	s.raw(fleet.BucketDesiredState, "UPPER.web", "x")
	fleettest.Eventually(t, soon, "the foreign values are rewritten", func() bool {
		return s.tap.get("d1.web").epoch != 0 && s.tap.get("d2.web").epoch != 0 && s.tap.get("_applied.web").epoch != 0
	})
	fleettest.Eventually(t, soon, "the illegal keys are set aside", func() bool {
		return slices.Equal(r.health.poison(), []string{"UPPER.web", "a.b.c"})
	})
	s.rest(r)
	written := map[string]int{}
	for _, op := range s.tap.all(before) {
		written[op.key]++
	}
	if want := map[string]int{"d1.web": 1, "d2.web": 1, "_applied.web": 1}; !maps.Equal(written, want) {
		t.Errorf("written %v, want %v", written, want)
	}
	if err := kv.Open(s.nc, fleet.BucketDesiredState, prov()).Purge(t.Context(), "a.b.c"); err != nil {
		t.Fatal(err)
	}
}

func TestReconciler_OneDeploymentCannotBeWritten(t *testing.T) {
	small := fleettest.WithOptions(func(o *server.Options) { o.MaxPayload = 32 << 10 })
	s := newSplitStack(t, fleettest.NATS(t), fleettest.NATS(t, small))
	s.device("d1", nil)
	s.deployment("web", 1, "a", nil)
	s.whole()
	r := s.start(settings{instance: "one"})
	s.keys(map[string]string{"d1.web": wanted(t, "web", "a")})

	s.deployment("big", 1, strings.Repeat("x", 40<<10), nil)
	s.deployment("log", 1, "l", nil)
	s.keys(map[string]string{"d1.web": wanted(t, "web", "a"), "d1.log": wanted(t, "log", "l")})
	fleettest.Eventually(t, soon, "it says so", func() bool { return r.health.reason("write") == "WriteRefused" })
	if got := s.answered("d1", fleet.SnapshotRequest{}); len(got.Entries) != 2 {
		t.Errorf("a device is told %d entries", len(got.Entries))
	}
	if s.tap.get("_applied.big").epoch != 0 {
		t.Error("what was refused is recorded as applied")
	}
	s.deployment("big", 2, "", func(e *fleet.MirrorDeployment) { e.Deleting = true })
	fleettest.Eventually(t, soon, "it is mended", func() bool { return r.health.reason("write") == "" })
}

// The first batch of a plan is committed, the second refused: what is written is not written again.
func TestReconciler_PartlyWrittenPlanIsNotWrittenAgain(t *testing.T) {
	small := fleettest.WithOptions(func(o *server.Options) { o.MaxPayload = 32 << 10 })
	s := newSplitStack(t, fleettest.NATS(t), fleettest.NATS(t, small))
	const devices = 1200 // more than one batch holds
	s.devices(devices)
	s.deployment("app", 1, "a", nil)
	s.deployment("big", 1, strings.Repeat("x", 40<<10), nil)
	s.whole()
	r := s.start(settings{instance: "one"})
	fleettest.Eventually(t, soon, "it says what cannot be written", func() bool { return r.health.reason("write") == "WriteRefused" })
	fleettest.Eventually(t, soon, "the rest is written", func() bool { return s.tap.get("_applied.app").epoch != 0 })
	if !r.log.has("plan written in part") {
		t.Error("the plan was not cut by a refused batch")
	}
	writes := map[string]int{}
	for _, op := range s.tap.all(0) {
		writes[op.key]++
	}
	for i := range devices {
		if key := fmt.Sprintf("d%04d.app", i); writes[key] != 1 {
			t.Fatalf("%s was written %d times", key, writes[key])
		}
	}
	if writes["_applied.app"] != 1 {
		t.Errorf("the record was written %d times", writes["_applied.app"])
	}
}

// A device that would have a key, were it not refused, must not conclude anything from its absence.
func TestReconciler_RefusedKeysAreNotMissing(t *testing.T) {
	small := fleettest.WithOptions(func(o *server.Options) { o.MaxPayload = 32 << 10 })
	s := newSplitStack(t, fleettest.NATS(t), fleettest.NATS(t, small))
	s.device("d1", nil, "region", "north")
	s.device("d2", nil)
	s.deployment("big", 1, strings.Repeat("x", 40<<10), nil, "region", "north")
	s.whole()
	s.start(settings{instance: "one"})
	s.complete("d2") // another device is not held up
	if got := s.answered("d1", fleet.SnapshotRequest{}); got.Complete {
		t.Error("a device is told that nothing is to run there")
	}
}
