package plan

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
)

// The properties run random histories of both buckets: resources come, change, are deleted, vanish,
// are restored from backups; the mirror loses and regains its lease and its _synced; foreign messages
// come in between; plans are applied, wholly or cut off after any write.

func TestProperty_IncrementalEqualsScratch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.whole()
		n := newNaive()
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			w.randomEvent(rt, n)
			n.compare(rt, w)
		}
	})
}

func TestProperty_ApplyLeavesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.whole()
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			w.randomEvent(rt, nil)
			if rapid.Bool().Draw(rt, "settle") {
				w.settle(rt)
			}
		}
	})
}

func TestProperty_OrderAndHistoryDoNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.whole()
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			w.goodEvent(rt, nil)
		}
		seed := rapid.Uint64().Draw(rt, "seed")
		other := w.rebuild(rand.New(rand.NewPCG(seed, 1)), w.now)
		w.now = w.now.Add(2 * time.Minute) // whatever waits is ripe in both
		got, want := render(other.Compute(w.now)), render(w.plan())
		if got != want {
			rt.Fatalf("rebuilt state plans\n%s\nthe one that lived through it\n%s", got, want)
		}
	})
}

func TestProperty_MemoryFollowsTheBuckets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.whole()
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			w.randomEvent(rt, nil)
		}
		for _, k := range slices.Sorted(maps.Keys(w.mirror)) {
			w.ok(w.say(Message{Key: k, Op: Gone}))
		}
		for _, k := range slices.Sorted(maps.Keys(w.desired)) {
			w.ok(w.write(Message{Key: k, Op: Gone}))
		}
		s := w.state
		left := len(s.deployments) + len(s.devices) + len(s.values) + len(s.recent) + len(s.busy) + len(s.unmade) + len(s.sound) + len(s.ending) + len(s.leaver)
		if left != 0 || s.keys != 0 || s.alive.deployments != 0 || s.alive.devices != 0 {
			rt.Fatalf("something is left of two empty buckets: %+v", s)
		}
	})
}

// settle applies plans at one moment until nothing is to be written: at most a second one, for the hold.
func (w *world) settle(rt *rapid.T) {
	for round := 0; ; round++ {
		p := w.plan()
		if p.Empty() {
			return
		}
		if round > 2 {
			rt.Fatalf("plan number %d is not empty:\n%s", round, render(p))
		}
		w.apply(p)
	}
}

// randomEvent makes any event happen; n, if not nil, follows what is good in the mirror.
func (w *world) randomEvent(rt *rapid.T, n *naive) {
	if rapid.IntRange(0, 5).Draw(rt, "foreign") == 0 {
		w.foreignEvent(rt)
		return
	}
	w.goodEvent(rt, n)
}

func (w *world) goodEvent(rt *rapid.T, n *naive) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 30).Draw(rt, "seconds")) * time.Second)
	device, name := drawDevice(rt), drawDeployment(rt)
	switch rapid.IntRange(0, 9).Draw(rt, "event") {
	case 0, 1, 2:
		e := labelled("region", rapid.SampledFrom([]string{"north", "south"}).Draw(rt, "region"))
		e.Deleting = rapid.IntRange(0, 5).Draw(rt, "deleting") == 0
		e.Quarantined = rapid.IntRange(0, 5).Draw(rt, "quarantined") == 0
		if rapid.IntRange(0, 5).Draw(rt, "invalid") == 0 {
			e = fleet.MirrorDevice{Invalid: "no finalizer"}
		}
		w.setDevice(device, e)
	case 3, 4, 5:
		w.setDeployment(name, drawWish(rt))
	case 6:
		w.setDevice(device, fleet.MirrorDevice{Tombstone: drawTombstone(rt)})
	case 7:
		w.setDeployment(name, fleet.MirrorDeployment{Tombstone: drawTombstone(rt)})
	case 8:
		key := rapid.SampledFrom([]string{fleet.DeviceKey(fleet.DeviceID(device)), fleet.DeploymentKey(fleet.DeploymentName(name))}).Draw(rt, "key")
		w.ok(w.say(Message{Key: key, Op: Gone}))
	case 9:
		switch rapid.IntRange(0, 3).Draw(rt, "mirror") {
		case 0:
			w.takeEpoch()
		case 1:
			w.sync()
		case 2:
			w.lease(rapid.Bool().Draw(rt, "held"))
		}
	}
	if n != nil {
		n.follow(rt, w)
	}
	if rapid.IntRange(0, 2).Draw(rt, "write") == 0 {
		w.applyPartly(rt, w.plan())
	}
}

// applyPartly applies a plan up to any of its groups, as a failed batch does.
func (w *world) applyPartly(rt *rapid.T, p Plan) {
	cut := rapid.IntRange(0, len(p.Groups)).Draw(rt, "cut")
	if cut < len(p.Groups) {
		p.Groups, p.Hold = p.Groups[:cut], nil
	}
	w.apply(p)
}

func (w *world) foreignEvent(rt *rapid.T) {
	device, name := drawDevice(rt), drawDeployment(rt)
	pair := fleet.Pair{Device: fleet.DeviceID(device), Deployment: fleet.DeploymentName(name)}
	m := Message{
		Op:    rapid.SampledFrom([]Op{Put, Marker}).Draw(rt, "op"),
		Value: []byte(rapid.SampledFrom([]string{"", "garbage", `{"uid":"x"}`, `{"id":"h","approved":true,"upTo":99999}`}).Draw(rt, "value")),
		Cause: fleet.CauseVanished,
	}
	switch rapid.IntRange(0, 4).Draw(rt, "where") {
	case 0:
		m.Key = fleet.DeviceKey(pair.Device)
		_ = w.say(m)
	case 1:
		m.Key = fleet.DeploymentKey(pair.Deployment)
		_ = w.say(m)
	case 2:
		m.Key = fleet.DesiredKey(pair)
		_ = w.write(m)
	case 3:
		m.Key = fleet.AppliedKey(pair.Deployment)
		_ = w.write(m)
	case 4:
		m.Key = fleet.KeyHold
		_ = w.write(m)
	}
}

// naive is the specification of scope and difference, computed from nothing but the messages.
type naive struct {
	devices     map[string]fleet.MirrorDevice
	deployments map[string]fleet.MirrorDeployment
	unreadable  map[string]bool
}

func newNaive() *naive {
	return &naive{map[string]fleet.MirrorDevice{}, map[string]fleet.MirrorDeployment{}, map[string]bool{}}
}

// follow notes what is good in the mirror now; what is not keeps its last good entry.
func (n *naive) follow(rt *rapid.T, w *world) {
	for _, id := range deviceNames() {
		key := fleet.DeviceKey(fleet.DeviceID(id))
		follow(n.devices, n.unreadable, key, id, w.mirror, fleet.DecodeMirrorDevice)
	}
	for _, name := range deploymentNames() {
		key := fleet.DeploymentKey(fleet.DeploymentName(name))
		follow(n.deployments, n.unreadable, key, name, w.mirror, fleet.DecodeMirrorDeployment)
	}
}

func follow[T any](good map[string]T, unreadable map[string]bool, key, name string, bucket map[string]Message, decode func([]byte) (T, error)) {
	m, there := bucket[key]
	if !there {
		delete(good, name)
		delete(unreadable, key)
		return
	}
	if e, err := decode(m.Value); m.Op == Put && m.Own && err == nil {
		good[name] = e
		delete(unreadable, key)
		return
	}
	unreadable[key] = true
}

func (n *naive) compare(rt *rapid.T, w *world) {
	n.follow(rt, w)
	for _, device := range deviceNames() {
		for _, name := range deploymentNames() {
			pair := fleet.Pair{Device: fleet.DeviceID(device), Deployment: fleet.DeploymentName(name)}
			want := n.action(device, name, w.desired[fleet.DesiredKey(pair)])
			got := nothing
			if p := w.state.deployments[pair.Deployment]; p != nil {
				for x := range p.differing {
					if x.device.id == pair.Device {
						got = x.action
					}
				}
			}
			if got != want {
				rt.Fatalf("%s: the state says action %d, the specification %d", pair, got, want)
			}
		}
	}
}

func (n *naive) action(device, name string, stored Message) action {
	d, deviceThere := n.devices[device]
	p, deploymentThere := n.deployments[name]
	deviceUnknown := !deviceThere && n.unreadable[fleet.DeviceKey(fleet.DeviceID(device))]
	deploymentUnknown := !deploymentThere && n.unreadable[fleet.DeploymentKey(fleet.DeploymentName(name))]
	isStored := stored.Key != "" && stored.Op == Put
	out := !deviceThere && !deviceUnknown || d.Tombstone != nil || d.Deleting || d.Quarantined ||
		!deploymentThere && !deploymentUnknown || p.Tombstone != nil || p.Deleting
	if !out {
		if deviceUnknown || deploymentUnknown || d.Invalid != "" || p.Invalid != "" {
			return nothing
		}
		m, err := selector.Compile(p.TargetSelector)
		value, err2 := fleet.EncodeDesired(fleet.Desired{UID: p.UID, Score: p.Score})
		if err != nil || err2 != nil {
			return nothing
		}
		if m.Matches(d.Labels) {
			if isStored && stored.Own && bytes.Equal(stored.Value, value) {
				return nothing
			}
			return put
		}
	}
	if isStored {
		return remove
	}
	return nothing
}

func deviceNames() []string     { return []string{"d1", "d2", "d3", "d4"} }
func deploymentNames() []string { return []string{"web", "log", "cam"} }

func drawDevice(rt *rapid.T) string { return rapid.SampledFrom(deviceNames()).Draw(rt, "device") }
func drawDeployment(rt *rapid.T) string {
	return rapid.SampledFrom(deploymentNames()).Draw(rt, "deployment")
}

func drawWish(rt *rapid.T) fleet.MirrorDeployment {
	e := wish(int64(rapid.IntRange(1, 4).Draw(rt, "generation")), rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "score"))
	switch rapid.IntRange(0, 3).Draw(rt, "selector") {
	case 0:
		e.TargetSelector.MatchLabels["region"] = "north"
	case 1:
		e.TargetSelector = fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: "region", Operator: "NotIn", Values: []string{"north"}}}}
	case 2:
		e.TargetSelector.MatchLabels["bad key"] = "x"
	}
	if rapid.IntRange(0, 5).Draw(rt, "invalid") == 0 {
		e = fleet.MirrorDeployment{Generation: e.Generation, Invalid: "no finalizer"}
	}
	e.UID = rapid.SampledFrom([]string{"u1", "u2"}).Draw(rt, "uid")
	e.Deleting = rapid.IntRange(0, 5).Draw(rt, "deleting") == 0
	return e
}

func drawTombstone(rt *rapid.T) *fleet.Tombstone {
	return &fleet.Tombstone{Cause: rapid.SampledFrom([]fleet.TombstoneCause{fleet.TombstoneDeleted, fleet.TombstoneVanished}).Draw(rt, "cause")}
}

// render writes a plan as text, without its times.
func render(p Plan) string {
	var b bytes.Buffer
	for _, g := range p.Groups {
		for _, a := range g.Puts {
			fmt.Fprintf(&b, "put %s %s\n", a.Pair, a.Value.Bytes)
		}
		for _, d := range g.Deletes {
			fmt.Fprintf(&b, "delete %s %s\n", d.Pair, d.Cause)
		}
		if g.Applied != nil {
			fmt.Fprintf(&b, "applied %s %s\n", g.Deployment, text(g.Applied.Value))
		}
	}
	if p.Hold != nil {
		fmt.Fprintf(&b, "hold %s\n", text(p.Hold.Value))
	}
	for _, part := range []struct {
		name    string
		deletes []Delete
	}{{"waits", p.Waiting}, {"held", p.Held}, {"blocked", p.Blocked}} {
		lines := make([]string, 0, len(part.deletes))
		for _, d := range part.deletes {
			lines = append(lines, fmt.Sprintf("%s %s %s\n", part.name, d.Pair, d.Cause))
		}
		slices.Sort(lines)
		for _, l := range lines {
			b.WriteString(l)
		}
	}
	for _, r := range p.Releases {
		fmt.Fprintf(&b, "release %s %s %s\n", r.Kind, r.Name, r.UID)
	}
	return b.String()
}

func text[T any](v *T) string {
	if v == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *v)
}
