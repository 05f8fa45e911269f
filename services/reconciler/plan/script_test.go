package plan

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"harmony.dev/fleet"
)

// Regenerate the expected lines with: go test ./plan -run TestScripts -update
var update = flag.Bool("update", false, "rewrite the expected lines of testdata/*.txt")

// TestScripts runs testdata/*.txt: commands at the left margin, what they answer indented below them.
//
//	whole                                 the mirror takes an epoch, is synced and leased
//	epoch | synced | lease | unlease      each of these alone
//	device ID [k=v …] [deleting] [quarantined] [state=S] [invalid=TEXT]
//	devices FROM TO [k=v …]               n devices d001 …
//	deployment NAME gen=N score=S [sel=k=v,…] [uid=U] [deleting] [invalid=TEXT]
//	tombstone device|deployment NAME deleted|vanished
//	gone KEY | foreign KEY [VALUE] | unforeign KEY     in the mirror: no message, a foreign put, a foreign marker
//	expired KEY                           in the mirror: the marker of a time to live that ended
//	put KEY VALUE | del KEY               in desired-state, foreign
//	purge KEY                             in desired-state: no message
//	setback                               desired-state is another one, or an earlier state of itself
//	over KEY                              in desired-state: the marker of a time to live that ended
//	mirrorback | stir                     the mirror about to be read is an earlier state of itself; it was read
//	after DURATION                        time passes
//	woke                                  … in which nobody looked
//	plan                                  shows the plan
//	apply                                 shows it and writes it
//	approve [ID]                          approves the hold, the current one unless an id is given
//	lose                                  desired-state is lost, and the state rebuilt
//	restored                              desired-state was restored from a backup of what it has now; the state is rebuilt
//	reread                                desired-state is read again, as after a lost connection
//	restart                               the state is rebuilt from the buckets
//	keys                                  shows desired-state
//	ask DEVICE                            shows what the device is answered
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs (review, then -update):\n%s", file, firstDifference(string(got), string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n  got  %s\n  want %s", i+1, g[i], w[i])
		}
	}
	return "one is longer than the other"
}

func runScript(t *testing.T, script []byte) []byte {
	w := newWorld(t)
	var out bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(script))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for answer := range strings.Lines(w.command(t, strings.Fields(line))) {
			fmt.Fprintf(&out, "    %s\n", strings.TrimSuffix(answer, "\n"))
		}
	}
	return out.Bytes()
}

func (w *world) command(t *testing.T, f []string) string {
	t.Helper()
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	switch f[0] {
	case "whole":
		w.whole()
	case "epoch":
		w.takeEpoch()
	case "synced":
		w.sync()
	case "lease":
		w.lease(true)
	case "unlease":
		w.lease(false)
	case "woke":
		w.state.Woke(w.now)
	case "device":
		w.setDevice(f[1], parseDevice(f[2:]))
	case "devices":
		from, to := number(t, f[1]), number(t, f[2])
		for i := from; i <= to; i++ {
			w.setDevice(fmt.Sprintf("d%03d", i), parseDevice(f[3:]))
		}
	case "deployment":
		w.setDeployment(f[1], parseDeployment(t, f[2:]))
	case "tombstone":
		w.entomb(f[1], f[2], fleet.TombstoneCause(f[3]))
	case "gone":
		return sayError(w.say(Message{Key: f[1], Op: Gone}))
	case "expired":
		return sayError(w.say(Message{Key: f[1], Op: Expired}))
	case "foreign":
		return sayError(w.say(Message{Key: f[1], Value: []byte(arg(2))}))
	case "unforeign":
		return sayError(w.say(Message{Key: f[1], Op: Marker}))
	case "put":
		return sayError(w.write(Message{Key: f[1], Value: []byte(arg(2))}))
	case "del":
		return sayError(w.write(Message{Key: f[1], Op: Marker}))
	case "purge":
		return sayError(w.write(Message{Key: f[1], Op: Gone}))
	case "setback":
		w.state.Lose(w.now)
	case "over":
		return sayError(w.write(Message{Key: f[1], Op: Expired}))
	case "mirrorback":
		w.state.Reread()
		w.state.SetBack()
	case "stir":
		w.state.Stir(w.now)
	case "after":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(d)
	case "plan":
		return w.shown(w.plan())
	case "apply":
		p := w.plan()
		w.apply(p)
		return w.shown(p)
	case "approve":
		id := arg(1)
		if h, ok := w.state.Hold(); ok && id == "" {
			id = h.ID
		}
		h, err := w.state.Approve(id)
		if err != nil {
			return err.Error()
		}
		w.ok(w.write(change(t, fleet.KeyHold, &h)))
	case "lose":
		clear(w.desired)
		w.state = w.rebuild(rand.New(rand.NewPCG(1, 2)), w.now)
	case "restored":
		w.restored = w.seq
		w.state = w.rebuild(rand.New(rand.NewPCG(1, 2)), w.now)
	case "reread":
		for _, key := range slices.Sorted(maps.Keys(w.desired)) {
			w.ok(w.state.ApplyDesired(w.desired[key], w.now))
		}
	case "restart":
		w.state = w.rebuild(rand.New(rand.NewPCG(1, 2)), w.now)
	case "keys":
		return w.keys()
	case "ask":
		return w.asked(fleet.DeviceID(f[1]))
	default:
		t.Fatalf("unknown command %q", f[0])
	}
	return ""
}

// shown abridges a plan: more than six lines that differ in the device alone become one.
func (w *world) shown(p Plan) string {
	var b strings.Builder
	lines := strings.SplitAfter(render(p), "\n")
	for i := 0; i < len(lines)-1; {
		n := 1
		for i+n < len(lines) && kind(lines[i+n]) == kind(lines[i]) {
			n++
		}
		if n > 6 {
			fmt.Fprintf(&b, "%s … %d more like it\n", strings.TrimSuffix(lines[i], "\n"), n-1)
		} else {
			b.WriteString(strings.Join(lines[i:i+n], ""))
		}
		i += n
	}
	if !p.Wake.IsZero() {
		fmt.Fprintf(&b, "wake in %s\n", p.Wake.Sub(w.now))
	}
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

// kind is a line of a plan without its device.
func kind(line string) string {
	verb, rest, _ := strings.Cut(line, " ")
	if _, after, ok := strings.Cut(rest, "."); ok && verb != "applied" && verb != "hold" {
		return verb + after
	}
	return line
}

func (w *world) keys() string {
	var b strings.Builder
	for _, d := range deployedOn(w.state) {
		keys, err := w.state.DeviceKeys(d, none)
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", d, err)
			continue
		}
		for _, e := range keys.Entries {
			fmt.Fprintf(&b, "%s.%s %s\n", d, e.Deployment, e.Value.Bytes)
		}
	}
	return b.String()
}

func (w *world) asked(d fleet.DeviceID) string {
	keys, err := w.state.DeviceKeys(d, none)
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, e := range keys.Entries {
		names = append(names, string(e.Deployment))
	}
	return fmt.Sprintf("entries %v whole %v quarantined %v\n", names, keys.Whole, keys.Quarantined)
}

func none(fleet.DeploymentName) bool { return false }

func deployedOn(s *State) []fleet.DeviceID {
	var all []fleet.DeviceID
	for _, id := range sortedKeys(s.devices) {
		if s.devices[id].keys > 0 {
			all = append(all, id)
		}
	}
	return all
}

func (w *world) entomb(kind, name string, cause fleet.TombstoneCause) {
	t := &fleet.Tombstone{Cause: cause, UID: "uid-" + name}
	if kind == "device" {
		w.setDevice(name, fleet.MirrorDevice{Tombstone: t})
		return
	}
	w.setDeployment(name, fleet.MirrorDeployment{Tombstone: t})
}

func sayError(err error) string {
	if err == nil {
		return ""
	}
	aside, ok := errors.AsType[*Aside](err)
	if !ok {
		return fmt.Sprintf("error: %v\n", err)
	}
	return fmt.Sprintf("set aside: %v (kept: %v)\n", aside.Err, aside.Kept)
}

func parseDevice(words []string) fleet.MirrorDevice {
	e := labelled()
	for _, word := range words {
		k, v, isLabel := strings.Cut(word, "=")
		switch {
		case word == "deleting":
			e.Deleting = true
		case word == "quarantined":
			e.Quarantined = true
		case k == "state":
			e.Status.State = fleet.DeviceState(v)
		case k == "invalid":
			e.Invalid, e.Labels = v, nil
		case isLabel:
			e.Labels[k] = v
		}
	}
	return e
}

func parseDeployment(t *testing.T, words []string) fleet.MirrorDeployment {
	t.Helper()
	e := wish(0, "")
	for _, word := range words {
		k, v, _ := strings.Cut(word, "=")
		switch k {
		case "gen":
			e.Generation = int64(number(t, v))
		case "score":
			e.Score = score(v)
		case "uid":
			e.UID = v
		case "deleting":
			e.Deleting = true
		case "invalid":
			e.Invalid, e.Score = v, fleet.Score{}
		case "sel":
			for term := range strings.SplitSeq(v, ",") {
				lk, lv, _ := strings.Cut(term, "=")
				e.TargetSelector.MatchLabels[lk] = lv
			}
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return e
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
