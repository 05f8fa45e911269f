package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"harmony.dev/fleet"
)

// failer is what a test and a property have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// world is the two buckets and the state that follows them, as a holder has it.
type world struct {
	t        failer
	now      time.Time
	seq      uint64 // of both buckets
	mirror   map[string]Message
	desired  map[string]Message
	state    *State
	epoch    uint64         // of the mirror
	term     string         // of the mirror's lease
	writes   map[string]int // writes per desired-state key
	restored uint64         // up to this sequence desired-state came with a backup
}

// begin is when the worlds of the tests begin.
func begin() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }

func newWorld(t failer) *world {
	return &world{
		t: t, now: begin(), seq: 1000, state: New(DefaultBrake()),
		mirror: map[string]Message{}, desired: map[string]Message{}, writes: map[string]int{}, term: "first",
	}
}

// say brings a message into fleet-resources.
func (w *world) say(m Message) error {
	w.stamp(&m)
	keepLast(w.mirror, m)
	return w.state.ApplyMirror(m, w.now)
}

// write brings a message into desired-state.
func (w *world) write(m Message) error {
	w.stamp(&m)
	keepLast(w.desired, m)
	w.writes[m.Key]++
	return w.state.ApplyDesired(m, w.now)
}

func (w *world) stamp(m *Message) {
	w.seq++
	m.Revision, m.Time = w.seq, w.now
}

func keepLast(bucket map[string]Message, m Message) {
	if m.Op == Gone {
		delete(bucket, m.Key)
		return
	}
	bucket[m.Key] = m
}

func (w *world) whole() {
	w.takeEpoch()
	w.sync()
	w.lease(true)
}

func (w *world) takeEpoch() {
	w.ok(w.say(Message{Key: fleet.KeyEpoch, Value: mustJSON(w.t, fleet.EpochRecord{Term: w.term})}))
	w.epoch = w.seq
}

func (w *world) sync() {
	w.ok(w.say(Message{Key: fleet.KeySynced, Value: mustJSON(w.t, fleet.Synced{Epoch: w.epoch}), Own: true}))
}

func (w *world) lease(held bool) {
	m := Message{Key: fleet.KeyLease, Op: Expired}
	if held {
		m.Op, m.Value = Put, mustJSON(w.t, fleet.LeaseRecord{Term: w.term})
	}
	w.ok(w.say(m))
}

func (w *world) setDevice(id string, e fleet.MirrorDevice) {
	if e.UID == "" && e.Tombstone == nil {
		e.UID = "uid-" + id
	}
	w.mirrored(fleet.DeviceKey(fleet.DeviceID(id)), mustJSON(w.t, e))
}

func (w *world) setDeployment(name string, e fleet.MirrorDeployment) {
	if e.UID == "" && e.Tombstone == nil {
		e.UID = "uid-" + name
	}
	w.mirrored(fleet.DeploymentKey(fleet.DeploymentName(name)), mustJSON(w.t, e))
}

// mirrored writes an entry as the patcher does: never the one that is there.
func (w *world) mirrored(key string, value []byte) {
	if m, ok := w.mirror[key]; ok && m.Op == Put && m.Own && bytes.Equal(m.Value, value) {
		return
	}
	w.ok(w.say(Message{Key: key, Value: value, Own: true}))
}

func (w *world) plan() Plan { return w.state.Compute(w.now) }

// apply writes a plan as a holder would and checks what holds for every plan.
func (w *world) apply(p Plan) {
	w.t.Helper()
	w.check(p)
	for _, g := range p.Groups {
		for _, a := range g.Puts {
			w.ok(w.write(Message{Key: fleet.DesiredKey(a.Pair), Value: a.Value.Bytes, Own: true}))
		}
		for _, d := range g.Deletes {
			w.ok(w.write(Message{Key: fleet.DesiredKey(d.Pair), Op: Marker, Own: true, Cause: d.Cause}))
		}
		if g.Applied != nil {
			w.ok(w.write(change(w.t, fleet.AppliedKey(g.Deployment), g.Applied.Value)))
		}
	}
	if p.Hold != nil {
		w.ok(w.write(change(w.t, fleet.KeyHold, p.Hold.Value)))
	}
}

// check asserts what no plan may break.
func (w *world) check(p Plan) {
	w.t.Helper()
	seen := map[fleet.Pair]bool{}
	once := func(x fleet.Pair) {
		if seen[x] {
			w.t.Fatalf("%s is written twice in one plan", x)
		}
		seen[x] = true
	}
	for _, g := range p.Groups {
		for _, a := range g.Puts {
			once(a.Pair)
			m := w.desired[fleet.DesiredKey(a.Pair)]
			if m.Op == Put && m.Own && string(m.Value) == string(a.Value.Bytes) {
				w.t.Fatalf("%s is written again with an equal value", a.Pair)
			}
		}
		for _, d := range g.Deletes {
			once(d.Pair)
			if d.Cause == "" {
				w.t.Fatalf("%s is deleted without a cause", d.Pair)
			}
			if m, ok := w.desired[fleet.DesiredKey(d.Pair)]; !ok || m.Op != Put {
				w.t.Fatalf("%s is deleted and not there", d.Pair)
			}
		}
	}
}

// rebuild returns a state fed with what is left in the buckets, in an order of its own,
// all at one time.
func (w *world) rebuild(rng *rand.Rand, at time.Time) *State {
	s := New(w.state.brake)
	s.Restored(w.restored)
	type step struct {
		mirror bool
		m      Message
	}
	var steps []step
	for _, k := range slices.Sorted(maps.Keys(w.mirror)) {
		steps = append(steps, step{true, w.mirror[k]})
	}
	for _, k := range slices.Sorted(maps.Keys(w.desired)) {
		steps = append(steps, step{false, w.desired[k]})
	}
	rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for _, x := range steps {
		if x.mirror {
			_ = s.ApplyMirror(x.m, at)
		} else {
			_ = s.ApplyDesired(x.m, at)
		}
	}
	return s
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func change[T any](t failer, key string, value *T) Message {
	if value == nil {
		return Message{Key: key, Op: Marker, Own: true}
	}
	return Message{Key: key, Value: mustJSON(t, *value), Own: true}
}

func mustJSON(t failer, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func score(text string) fleet.Score {
	return fleet.Score{Type: "test", Data: json.RawMessage(fmt.Sprintf("%q", text))}
}

func labelled(kv ...string) fleet.MirrorDevice {
	e := fleet.MirrorDevice{Labels: map[string]string{}}
	for i := 0; i+1 < len(kv); i += 2 {
		e.Labels[kv[i]] = kv[i+1]
	}
	return e
}

func wish(generation int64, scoreText string, kv ...string) fleet.MirrorDeployment {
	return fleet.MirrorDeployment{
		Generation: generation, Score: score(scoreText),
		TargetSelector: fleet.Selector{MatchLabels: labelled(kv...).Labels},
	}
}

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
