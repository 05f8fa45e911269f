package protocol_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// world is everything around one agent: the bucket and who writes it, the way of live messages, the
// reconciler that answers, the server that acknowledges, and the runtime. All of it may misbehave.
type world struct {
	t   *rapid.T
	now time.Time
	m   *protocol.Machine

	connected bool
	seq       uint64
	bucket    map[fleet.DeploymentName]entry
	last      map[fleet.DeploymentName]uint64 // last sequence per key, markers included
	transit   []protocol.Live
	values    int

	ask     *protocol.Ask
	early   *fleet.Snapshot                 // the answer to ask, when it was made before now
	whole   bool                            // every page of the snapshot so far was complete
	asOf    uint64                          // of the snapshot's first page
	obeyed  map[fleet.DeploymentName]uint64 // the last live message of each key, if it was a put that was obeyed
	deletes map[fleet.DeploymentName]bool   // deletes by the reconciler that were delivered on this connection
	tasks   map[fleet.DeploymentName]protocol.Action
	running map[fleet.DeploymentName]string
	good    map[fleet.DeploymentName]string // what ran last of what is wanted all along, over restarts
	pubs    map[string]protocol.Publish
	reports map[string]fleet.Report
}

type entry struct {
	seq     uint64
	value   []byte
	foreign bool
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), seq: 1000,
		bucket: map[fleet.DeploymentName]entry{}, last: map[fleet.DeploymentName]uint64{},
		running: map[fleet.DeploymentName]string{}, good: map[fleet.DeploymentName]string{}, reports: map[string]fleet.Report{},
	}
	w.boot(protocol.State{})
	return w
}

// boot starts an agent; what was under way with the one before is gone.
func (w *world) boot(s protocol.State) {
	w.connected, w.ask, w.early = false, nil, nil
	w.deletes = map[fleet.DeploymentName]bool{}
	w.obeyed = map[fleet.DeploymentName]uint64{}
	w.tasks = map[fleet.DeploymentName]protocol.Action{}
	w.pubs = map[string]protocol.Publish{}
	m, err := protocol.New(protocol.Config{Device: "pi", Seed: rapid.Uint64().Draw(w.t, "seed")}, s, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.m = m
	w.step(protocol.Started{})
}

// step feeds one event, checks what may never happen, and takes up the actions.
func (w *world) step(e protocol.Event) {
	before := w.desired()
	actions := w.m.Step(w.now, e)
	w.checkRemovals(e, before)
	after := w.desired()
	maps.DeleteFunc(w.good, func(name fleet.DeploymentName, _ string) bool { return after[name] == "" })
	w.take(actions)
}

func (w *world) take(actions []protocol.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case protocol.Ask:
			if !w.connected || w.ask != nil {
				w.t.Fatalf("asks %+v while connected=%v, under way: %+v", a, w.connected, w.ask)
			}
			w.ask = &a
			w.whole = w.whole || a.Request.After == ""
		case protocol.Publish:
			if _, ok := w.pubs[a.Key]; ok || !w.connected {
				w.t.Fatalf("publishes %s while connected=%v, or twice", a.Key, w.connected)
			}
			w.pubs[a.Key] = a
		case protocol.Apply:
			w.task(a.Deployment, a)
		case protocol.Remove:
			w.task(a.Deployment, a)
		}
	}
}

func (w *world) task(d fleet.DeploymentName, a protocol.Action) {
	if _, ok := w.tasks[d]; ok {
		w.t.Fatalf("two tasks of %s at once", d)
	}
	w.tasks[d] = a
}

// checkRemovals: only a complete snapshot or a delete by the reconciler takes a workload away, and what
// somebody else wrote is never wanted. A snapshot does not take back what was obeyed after it was made.
func (w *world) checkRemovals(e protocol.Event, before map[fleet.DeploymentName]string) {
	after := w.desired()
	for name := range before {
		if _, ok := after[name]; ok {
			continue
		}
		_, page := e.(protocol.PageGot)
		allowed := page && w.whole || w.deletes[name]
		if !allowed {
			w.t.Fatalf("%s was removed by %+v", name, e)
		}
		if page && w.obeyed[name] > w.asOf {
			w.t.Fatalf("%s was obeyed as %d and removed by a snapshot as of %d", name, w.obeyed[name], w.asOf)
		}
	}
	for name, label := range after {
		if label == "foreign" {
			w.t.Fatalf("%s obeys somebody else after %+v", name, e)
		}
	}
}

// desired returns the hashes of what the agent wants, "foreign" for the values of somebody else.
func (w *world) desired() map[fleet.DeploymentName]string {
	all := map[fleet.DeploymentName]string{}
	for _, s := range w.m.State().Workloads {
		if s.Removed {
			continue
		}
		all[s.Deployment] = fleet.Hash(s.Desired)
		if d, err := fleet.DecodeDesired(s.Desired); err == nil && d.UID == "foreign" {
			all[s.Deployment] = "foreign"
		}
	}
	return all
}

// write appends to the stream and republishes.
func (w *world) write(name fleet.DeploymentName, op protocol.Op, epoch uint64) {
	w.seq += uint64(rapid.IntRange(1, 3).Draw(w.t, "skip"))
	l := protocol.Live{Deployment: name, Sequence: w.seq, Previous: w.last[name], Op: op, Epoch: epoch}
	w.last[name] = w.seq
	delete(w.bucket, name)
	if op == protocol.Put {
		w.values++
		uid := "u"
		if epoch == 0 {
			uid = "foreign"
		}
		l.Value, _ = fleet.EncodeDesired(fleet.Desired{
			UID: uid, Score: fleet.Score{Type: "sim", Data: fmt.Appendf(nil, "%d", w.values%5)},
		})
		if epoch != 0 && rapid.IntRange(0, 9).Draw(w.t, "malformed") == 0 {
			l.Value = []byte("{")
		}
		w.bucket[name] = entry{seq: w.seq, value: l.Value, foreign: epoch == 0}
	}
	if epoch == 0 && op == protocol.Delete { // the reconciler is going to write it again
		w.bucket[name] = entry{seq: w.seq, foreign: true}
	}
	if w.connected {
		w.transit = append(w.transit, l)
	}
}

// flood writes and delivers more changes of a key than an agent keeps.
func (w *world) flood(name fleet.DeploymentName) {
	var l protocol.Live
	for range 257 {
		w.seq++
		l = protocol.Live{Deployment: name, Sequence: w.seq, Previous: w.last[name], Epoch: 7, Value: []byte("{")}
		w.last[name], w.bucket[name] = w.seq, entry{seq: w.seq, value: l.Value}
		w.take(w.m.Step(w.now, l))
	}
	w.heard(l)
}

// repair is what the reconciler does about foreign writes.
func (w *world) repair() {
	for _, name := range slices.Sorted(maps.Keys(w.bucket)) {
		if w.bucket[name].foreign {
			w.write(name, protocol.Put, 7)
		}
	}
}

func (w *world) foreign() bool {
	for _, e := range w.bucket {
		if e.foreign {
			return true
		}
	}
	return false
}

// deliver takes the i-th message in transit to the agent.
func (w *world) deliver(i int) {
	l := w.transit[i]
	if l.Op == protocol.Delete && l.Epoch != 0 {
		w.deletes[l.Deployment] = true
	}
	w.step(l)
	w.heard(l)
}

// heard remembers what came of a live message.
func (w *world) heard(l protocol.Live) {
	delete(w.obeyed, l.Deployment)
	if l.Op == protocol.Put && w.desired()[l.Deployment] == fleet.Hash(l.Value) {
		w.obeyed[l.Deployment] = l.Sequence
	}
}

// answer answers the request under way with a page of the bucket.
func (w *world) answer(complete bool) {
	ask := *w.ask
	w.ask = nil
	if w.foreign() && w.early == nil {
		w.step(protocol.AskFailed{ID: ask.ID, Code: fleet.CodeUnavailable})
		return
	}
	page := w.page(ask.Request, complete)
	if w.early != nil {
		page = *w.early
		w.early = nil
	}
	w.whole = w.whole && page.Complete
	if ask.Request.After == "" {
		w.asOf = page.AsOf
	}
	w.step(protocol.PageGot{ID: ask.ID, Page: page})
}

const pageSize = 2

func (w *world) page(r fleet.SnapshotRequest, complete bool) fleet.Snapshot {
	p := fleet.Snapshot{AsOf: w.seq, Complete: complete}
	hashes := map[fleet.DeploymentName]string{}
	for name, e := range w.bucket {
		hashes[name] = fleet.Hash(e.value)
	}
	if r.Digest == fleet.Digest(hashes) {
		p.Unchanged = true
		return p
	}
	for _, name := range slices.Sorted(maps.Keys(w.bucket)) {
		if name <= r.After {
			continue
		}
		if len(p.Entries) == pageSize {
			p.Next = p.Entries[pageSize-1].Deployment
			break
		}
		p.Entries = append(p.Entries, fleet.SnapshotEntry{Deployment: name, Sequence: w.bucket[name].seq, Value: w.bucket[name].value})
	}
	return p
}

// finish ends the runtime's task of a deployment.
func (w *world) finish(d fleet.DeploymentName, failure string) {
	a := w.tasks[d]
	delete(w.tasks, d)
	switch a := a.(type) {
	case protocol.Apply:
		if failure == "" {
			w.running[d], w.good[d] = a.Hash, a.Hash
		}
		w.step(protocol.Applied{Deployment: d, Err: failure})
	case protocol.Remove:
		if failure == "" {
			delete(w.running, d)
		}
		w.step(protocol.Removed{Deployment: d, Err: failure})
	}
}

// settle answers a publish. One with an unknown outcome may be stored or not.
func (w *world) settle(key string, o protocol.Outcome, stored bool) {
	p := w.pubs[key]
	delete(w.pubs, key)
	if stored && p.Bucket == fleet.BucketDeviceState {
		r, err := fleet.DecodeReport(p.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		w.reports[key] = r
	}
	w.step(protocol.Published{ID: p.ID, Outcome: o})
}

func (w *world) connect() {
	w.disconnect()
	w.connected = true
	w.step(protocol.Connected{})
}

func (w *world) disconnect() {
	w.connected, w.transit, w.ask, w.early = false, nil, nil, nil
	clear(w.deletes)
	clear(w.obeyed)
	clear(w.pubs)
	w.step(protocol.Disconnected{})
}

// tick goes on to the next deadline.
func (w *world) tick() {
	if at, ok := w.m.Deadline(); ok && at.After(w.now) {
		w.now = at
	}
	w.step(protocol.Tick{})
}
