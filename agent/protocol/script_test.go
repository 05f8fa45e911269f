package protocol_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

var update = flag.Bool("update", false, "rewrite the expected actions in testdata/*.txt")

// TestScripts replays testdata/*.txt. A line "> command" is an event, the lines after it are the
// actions that follow. Lines with "#" are for the reader.
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
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("actions differ, see -update:\n%s", got)
			}
		})
	}
}

// script drives one machine.
type script struct {
	t      *testing.T
	now    time.Time
	m      *protocol.Machine
	ask    uint64            // the last Ask
	flight map[string]uint64 // key → the last Publish
	labels map[string]string // hash → label
	out    strings.Builder
}

func replay(t *testing.T, text string) string {
	s := &script{
		t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		flight: map[string]uint64{}, labels: map[string]string{},
	}
	s.life(protocol.State{})
	scanner := bufio.NewScanner(strings.NewReader(text))
	for scanner.Scan() {
		line := scanner.Text()
		command, ok := strings.CutPrefix(line, "> ")
		if !ok {
			if line == "" || strings.HasPrefix(line, "#") {
				fmt.Fprintln(&s.out, line)
			}
			continue
		}
		fmt.Fprintln(&s.out, line)
		s.run(strings.Fields(command))
	}
	return s.out.String()
}

func (s *script) life(state protocol.State) {
	m, err := protocol.New(protocol.Config{Device: "pi", Seed: 1}, state, s.now)
	if err != nil {
		s.t.Fatal(err)
	}
	s.m = m
}

func (s *script) run(args []string) {
	a := arguments(args[1:])
	name := fleet.DeploymentName(a.first)
	switch args[0] {
	case "restart":
		b, err := protocol.EncodeState(s.m.State())
		if err != nil {
			s.t.Fatal(err)
		}
		state, err := protocol.DecodeState("pi", b)
		if err != nil {
			s.t.Fatal(err)
		}
		s.life(state)
		s.step(protocol.Started{})
	case "wait":
		at, ok := s.m.Deadline()
		if !ok {
			fmt.Fprintln(&s.out, "nothing to wait for")
			return
		}
		fmt.Fprintf(&s.out, "+%s\n", at.Sub(s.now).Round(time.Millisecond))
		s.now = at
		s.step(protocol.Tick{})
	case "connect":
		s.step(protocol.Connected{})
	case "disconnect":
		s.step(protocol.Disconnected{})
	case "lost":
		s.step(protocol.Lost{})
	case "resync":
		s.step(protocol.ResyncAsked{})
	case "page":
		s.step(protocol.PageGot{ID: s.ask, Page: s.page(args[1:])})
	case "fail":
		s.step(protocol.AskFailed{ID: s.ask, Code: fleet.Code(a.number("code")), Err: "refused"})
	case "live":
		s.lives(s.live(name, a), max(a.number("times"), 1))
	case "ack", "refuse", "unknown":
		o := map[string]protocol.Outcome{"ack": protocol.Acknowledged, "refuse": protocol.Refused, "unknown": protocol.Unknown}
		s.step(protocol.Published{ID: s.flight[a.first], Outcome: o[args[0]]})
	case "applied":
		s.step(protocol.Applied{Deployment: name, Err: a.named["err"]})
	case "removed":
		s.step(protocol.Removed{Deployment: name, Err: a.named["err"]})
	case "observed":
		s.step(protocol.Observed{Deployment: name, Err: a.named["err"]})
	default:
		s.t.Fatalf("unknown command %q", args)
	}
}

func (s *script) step(e protocol.Event) {
	for _, a := range s.m.Step(s.now, e) {
		fmt.Fprintf(&s.out, "%s\n", s.show(a))
	}
}

func (s *script) show(a protocol.Action) string {
	switch a := a.(type) {
	case protocol.Ask:
		s.ask = a.ID
		return strings.TrimSpace("ask " + string(a.Request.After))
	case protocol.Publish:
		s.flight[a.Key] = a.ID
		if a.Bucket != fleet.BucketDeviceState {
			return "publish " + a.Key
		}
		r, err := fleet.DecodeReport(a.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		return strings.TrimSpace(fmt.Sprintf("publish %s %s %s %s", a.Key, r.Phase, s.labels[r.ObservedHash], r.LastError))
	case protocol.Apply:
		return fmt.Sprintf("apply %s %s", a.Deployment, s.labels[a.Hash])
	case protocol.Interrupt:
		return fmt.Sprintf("interrupt %s", a.Deployment)
	case protocol.Remove:
		return fmt.Sprintf("remove %s", a.Deployment)
	case protocol.Save:
		return "save"
	case protocol.Note:
		return fmt.Sprintf("note %s: %s", a.Deployment, a.Text)
	}
	return "?"
}

// value returns the bytes of a label: "v1" is a good one, "bad…" a malformed one.
func (s *script) value(label string) []byte {
	b := []byte("{" + label)
	if !strings.HasPrefix(label, "bad") {
		b = desired(s.t, label)
	}
	s.labels[fleet.Hash(b)] = label
	return b
}

// lives delivers l so many times, each as the next change of the key.
func (s *script) lives(l protocol.Live, times uint64) {
	for range times {
		s.step(l)
		l.Sequence, l.Previous = l.Sequence+1, l.Sequence
	}
}

func (s *script) live(name fleet.DeploymentName, a args) protocol.Live {
	l := protocol.Live{Deployment: name, Sequence: a.number("seq"), Previous: a.number("prev"), Epoch: 7}
	switch {
	case a.flags["del"]:
		l.Op = protocol.Delete
	case a.flags["expired"]:
		l.Op, l.Epoch = protocol.Expired, 0
	default:
		l.Value = s.value(a.named["put"])
	}
	if a.flags["foreign"] {
		l.Epoch = 0
	}
	return l
}

// page reads "100 complete next=b a=v1@90": the sequence it holds for, flags, then the entries.
func (s *script) page(words []string) fleet.Snapshot {
	p := fleet.Snapshot{AsOf: number(s.t, words[0])}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		switch {
		case w == "complete":
			p.Complete = true
		case w == "unchanged":
			p.Unchanged = true
		case name == "next":
			p.Next = fleet.DeploymentName(value)
		default:
			label, seq, _ := strings.Cut(value, "@")
			p.Entries = append(p.Entries, fleet.SnapshotEntry{
				Deployment: fleet.DeploymentName(name), Sequence: number(s.t, seq), Value: s.value(label),
			})
		}
	}
	return p
}

// args are the words of a command: the first, those with "=", and the rest.
type args struct {
	first string
	named map[string]string
	flags map[string]bool
}

func arguments(words []string) args {
	a := args{named: map[string]string{}, flags: map[string]bool{}}
	for i, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok {
			a.named[name] = value
		} else if i == 0 {
			a.first = w
		} else {
			a.flags[w] = true
		}
	}
	return a
}

func (a args) number(name string) uint64 {
	n, _ := strconv.ParseUint(a.named[name], 10, 64)
	return n
}

func number(t *testing.T, s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func desired(t testing.TB, label string) []byte {
	t.Helper()
	b, err := fleet.EncodeDesired(fleet.Desired{
		UID: "u", Score: fleet.Score{Type: "sim", Data: []byte(strconv.Quote(label))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
