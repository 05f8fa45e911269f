package protocol_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// TestMachine_ConvergesOnTheBucket: whatever happened before (lost, repeated and reordered messages, foreign
// writes, incomplete snapshots, restarts, failures), after the next complete snapshot the agent wants
// exactly what is in the bucket, runs it, and the server has its word for it.
func TestMachine_ConvergesOnTheBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.connect()
		t.Repeat(w.moves())
		w.calm(func(protocol.Apply) string { return "" })

		want := map[fleet.DeploymentName]string{}
		for name, e := range w.bucket {
			want[name] = fleet.Hash(e.value)
		}
		if got := w.desired(); !maps.Equal(got, want) {
			t.Fatalf("wants %v, the bucket has %v", got, want)
		}
		for name, e := range w.bucket {
			report := w.reports[fleet.StateKey(fleet.Pair{Device: "pi", Deployment: name})]
			if report.ObservedHash != want[name] {
				t.Fatalf("reported on another value of %s", name)
			}
			wantPhase := fleet.PhaseRunning
			if _, err := fleet.DecodeDesired(e.value); err != nil {
				wantPhase = fleet.PhaseFailed
			} else if w.running[name] != want[name] {
				t.Fatalf("%s runs something else", name)
			}
			if report.Phase != wantPhase {
				t.Fatalf("%s is reported as %s, not %s", name, report.Phase, wantPhase)
			}
		}
		for name := range w.running {
			if _, ok := want[name]; !ok {
				t.Fatalf("%s still runs", name)
			}
		}
		for key, r := range w.reports {
			p, _ := fleet.ParseStateKey(key)
			if _, ok := want[p.Deployment]; !ok && r.Phase == fleet.PhaseRunning {
				t.Fatalf("%s is gone but was last reported as running", key)
			}
		}
	})
}

// TestMachine_FollowsLiveMessages: as long as no message is lost, the agent wants what is in the bucket
// without anybody telling it to resync, whenever and however late snapshots are made and arrive.
func TestMachine_FollowsLiveMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.connect()
		moves := w.moves()
		for _, trouble := range []string{"drop", "lost", "foreignPut", "foreignDelete", "expire", "recreate", "answerBit", "restart"} {
			delete(moves, trouble)
		}
		t.Repeat(moves)
		if !w.connected {
			w.connect()
		}
		for len(w.transit) > 0 {
			w.deliver(0)
			w.transit = w.transit[1:]
		}
		for end := w.now.Add(time.Minute); w.now.Before(end); {
			if w.ask != nil {
				w.answer(true)
			} else {
				w.tick()
			}
		}
		want := map[fleet.DeploymentName]string{}
		for name, e := range w.bucket {
			want[name] = fleet.Hash(e.value)
		}
		if got := w.desired(); !maps.Equal(got, want) {
			t.Fatalf("wants %v, the bucket has %v", got, want)
		}
	})
}

// TestMachine_RunsWhatRanLast: whatever happened before, restarts of the device included, and while the
// runtime refuses everything newer, a workload that is wanted runs what it ran last.
func TestMachine_RunsWhatRanLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.connect()
		t.Repeat(w.moves())
		w.calm(func(a protocol.Apply) string {
			if a.Hash != w.good[a.Deployment] {
				return "boom"
			}
			return ""
		})
		for name, hash := range w.good {
			if w.running[name] != hash {
				t.Fatalf("%s does not run what it ran last, but %q", name, w.running[name])
			}
		}
	})
}

// calm ends all trouble and lets everything that is under way end well, but for values that fail.
func (w *world) calm(failure func(protocol.Apply) string) {
	w.repair()
	w.transit = nil
	if !w.connected {
		w.connect()
	}
	for _, name := range slices.Sorted(maps.Keys(w.desired())) {
		w.step(protocol.Observed{Deployment: name}) // what crashed runs again
	}
	w.step(protocol.ResyncAsked{})
	end := w.now.Add(6 * time.Minute) // longer than any backoff
	for w.now.Before(end) {
		switch {
		case w.ask != nil:
			w.answer(true)
		case len(w.tasks) > 0:
			d := slices.Min(slices.Collect(maps.Keys(w.tasks)))
			if a, ok := w.tasks[d].(protocol.Apply); ok {
				w.finish(d, failure(a))
			} else {
				w.finish(d, "")
			}
		case len(w.pubs) > 0:
			w.settle(slices.Min(slices.Collect(maps.Keys(w.pubs))), protocol.Acknowledged, true)
		default:
			w.tick()
		}
	}
}

// moves are what may happen at any time. One that makes no sense now does nothing.
func (w *world) moves() map[string]func(*rapid.T) {
	names := rapid.SampledFrom([]fleet.DeploymentName{"a", "b", "c", "d", "e"})
	return map[string]func(*rapid.T){
		"put":           func(t *rapid.T) { w.write(names.Draw(t, "name"), protocol.Put, 7) },
		"delete":        func(t *rapid.T) { w.write(names.Draw(t, "name"), protocol.Delete, 7) },
		"foreignPut":    func(t *rapid.T) { w.write(names.Draw(t, "name"), protocol.Put, 0) },
		"foreignDelete": func(t *rapid.T) { w.write(names.Draw(t, "name"), protocol.Delete, 0) },
		"repair":        func(*rapid.T) { w.repair() },
		"expire": func(t *rapid.T) {
			if name := names.Draw(t, "name"); w.bucket[name].seq == 0 {
				w.write(name, protocol.Expired, 0)
			}
		},
		"flood": func(t *rapid.T) {
			for ; len(w.transit) > 0; w.transit = w.transit[1:] {
				w.deliver(0)
			}
			if name := names.Draw(t, "name"); w.connected {
				w.flood(name)
			}
		},
		"deliver":  func(t *rapid.T) { w.transfer(t, true, true) },
		"deliver2": func(t *rapid.T) { w.transfer(t, true, true) },
		"repeat":   func(t *rapid.T) { w.transfer(t, true, false) },
		"drop":     func(t *rapid.T) { w.transfer(t, false, true) },
		"compute": func(*rapid.T) {
			if w.ask != nil && !w.foreign() {
				p := w.page(w.ask.Request, true)
				w.early = &p
			}
		},
		"answer":    func(*rapid.T) { w.reply(true) },
		"answer2":   func(*rapid.T) { w.reply(true) },
		"answerBit": func(*rapid.T) { w.reply(false) },
		"refuse": func(t *rapid.T) {
			if ask := w.ask; ask != nil {
				w.ask, w.early = nil, nil
				w.step(protocol.AskFailed{ID: ask.ID, Code: rapid.SampledFrom([]fleet.Code{0, 404, 429, 503}).Draw(t, "code")})
			}
		},
		"task": func(t *rapid.T) {
			if d, ok := pick(t, w.tasks); ok {
				w.finish(d, rapid.SampledFrom([]string{"", "", "boom"}).Draw(t, "err"))
			}
		},
		"settle": func(t *rapid.T) {
			if key, ok := pick(t, w.pubs); ok {
				o := rapid.SampledFrom([]protocol.Outcome{protocol.Acknowledged, protocol.Refused, protocol.Unknown}).Draw(t, "outcome")
				w.settle(key, o, o == protocol.Acknowledged || o == protocol.Unknown && rapid.Bool().Draw(t, "stored"))
			}
		},
		"observe": func(t *rapid.T) {
			w.step(protocol.Observed{Deployment: names.Draw(t, "name"), Err: rapid.SampledFrom([]string{"", "crashed"}).Draw(t, "err")})
			w.step(protocol.Observed{Deployment: "a"})
		},
		"tick":       func(*rapid.T) { w.tick() },
		"lost":       func(*rapid.T) { w.transit = nil; w.step(protocol.Lost{}) },
		"resync":     func(*rapid.T) { w.step(protocol.ResyncAsked{}) },
		"connect":    func(*rapid.T) { w.connect() },
		"disconnect": func(*rapid.T) { w.disconnect() },
		"restart": func(t *rapid.T) {
			b, err := protocol.EncodeState(w.m.State())
			if err != nil {
				t.Fatal(err)
			}
			s, err := protocol.DecodeState("pi", b)
			if err != nil {
				t.Fatal(err)
			}
			w.disconnect()
			clear(w.running) // a device that was switched off
			w.boot(s)
		},
		"recreate": func(*rapid.T) { // the bucket is lost and written again from the wish
			old := w.bucket
			w.seq += 1000
			w.bucket, w.last = map[fleet.DeploymentName]entry{}, map[fleet.DeploymentName]uint64{}
			for _, name := range slices.Sorted(maps.Keys(old)) {
				w.write(name, protocol.Put, 8)
			}
		},
	}
}

func (w *world) transfer(t *rapid.T, deliver, take bool) {
	if len(w.transit) == 0 {
		return
	}
	i := 0
	if rapid.IntRange(0, 9).Draw(t, "late") == 0 {
		i = rapid.IntRange(0, len(w.transit)-1).Draw(t, "which")
	}
	if deliver {
		w.deliver(i)
	}
	if take {
		w.transit = slices.Delete(w.transit, i, i+1)
	}
}

func (w *world) reply(complete bool) {
	if w.ask != nil {
		w.answer(complete)
	}
}

func pick[K ~string, V any](t *rapid.T, m map[K]V) (K, bool) {
	keys := slices.Sorted(maps.Keys(m))
	if len(keys) == 0 {
		return "", false
	}
	return rapid.SampledFrom(keys).Draw(t, "which"), true
}
