package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/invariant"
	"harmony.dev/e2e/record"
)

// resultsVariable names the file that results are appended to, one line of JSON for each test that made a
// stack.
const resultsVariable = "E2E_RESULTS"

// recordingsVariable names a directory in which all recordings are kept; without it those of failed tests are,
// with their logs.
const recordingsVariable = "E2E_RECORDINGS"

// Result is what one run of a scenario showed.
type Result struct {
	Test       string         `json:"test"`
	At         time.Time      `json:"at"`
	Commit     string         `json:"commit,omitempty"` // of the product that ran
	Stack      string         `json:"stack"`            // "processes", "compose"
	Nodes      int            `json:"nodes"`            // of NATS
	Passed     bool           `json:"passed"`
	Seconds    float64        `json:"seconds"` // the whole test
	Measured   []Measure      `json:"measured,omitempty"`
	Faults     []string       `json:"faults"`               // that were injected, by name, in order
	Unrecorded bool           `json:"unrecorded,omitempty"` // nothing was recorded, so nothing was judged
	Violations int            `json:"violations"`           // of invariants: wrong writes among them
	Sometimes  map[string]int `json:"sometimes"`            // how often each fault path was reached
	Needs      []Ability      `json:"needs,omitempty"`      // what the test needed of its stack
}

// Measure is a time that a scenario measured.
type Measure struct {
	What    string  `json:"what"` // "takeover after SIGKILL"
	Seconds float64 `json:"seconds"`
	Limit   float64 `json:"limit,omitempty"` // seconds; 0: none
}

// Measured notes a time and shows it; the test fails when it is over the limit, unless that is 0.
func (s *Stack) Measured(what string, took, limit time.Duration) {
	s.t.Helper()
	text := ""
	if limit > 0 {
		text = fmt.Sprintf(" (limit %s)", limit)
	}
	s.t.Logf("%s: %s%s", what, took.Round(time.Millisecond), text)
	if limit > 0 && took > limit {
		s.t.Errorf("%s took %s, the limit is %s", what, took.Round(time.Millisecond), limit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.measured = append(s.measured, Measure{What: what, Seconds: took.Seconds(), Limit: limit.Seconds()})
}

// judge ends the recording, runs the checkers over it, and keeps what a failed test needs.
func (s *Stack) judge() {
	if s.recorder == nil {
		s.report(nil, 0)
		return
	}
	recording := s.recorder.Stop()
	violations := invariant.Judge(recording)
	if len(violations) > 0 {
		s.t.Errorf("%d violations:\n%s", len(violations), invariant.Text(violations, 20))
	}
	if n := rests(recording); n[false] > 0 && n[true] == 0 {
		s.t.Errorf("no checker saw what was written: the services were not ready at any of %d rests", n[false])
	}
	s.report(recording, len(violations))
	path := s.dir + "/recording.jsonl"
	if dir := os.Getenv(recordingsVariable); dir != "" {
		path = fmt.Sprintf("%s/%s.%d.jsonl", dir, strings.ReplaceAll(s.t.Name(), "/", "."), s.began.Unix())
	} else if !s.t.Failed() {
		return
	}
	err := os.MkdirAll(filepath.Dir(path), 0o750)
	if err == nil {
		err = record.Save(path, recording)
	}
	if err != nil {
		s.t.Errorf("keep the recording: %v", err)
		return
	}
	s.t.Logf("the recording is %s; judge it again with 'go run ./e2e/cmd/judge %s'", path, path)
}

// rests counts those at which the services were ready, and were not: those are not judged.
func rests(recording record.Recording) map[bool]int {
	n := map[bool]int{}
	for _, e := range recording {
		if e.Rest != nil {
			n[e.Rest.Ready]++
		}
	}
	return n
}

// report appends the result to the file that the environment names, if it does.
func (s *Stack) report(recording record.Recording, violations int) {
	path := os.Getenv(resultsVariable)
	if path == "" {
		return
	}
	r := Result{
		Test: s.t.Name(), At: time.Now().UTC(), Commit: os.Getenv(commitVariable), Stack: s.Kind(), Nodes: s.replicas, Passed: !s.t.Failed(),
		Seconds: time.Since(s.began).Seconds(), Measured: s.measured, Faults: []string{},
		Unrecorded: s.recorder == nil, Violations: violations, Sometimes: invariant.Sometimes(recording),
		Needs: s.used,
	}
	for _, e := range recording {
		if e.Fault != nil && !e.Fault.Healed {
			r.Faults = append(r.Faults, e.Fault.Name)
		}
	}
	appendResult(s.t, path, r)
}

// Run is what a run of something other than a scenario showed: a soak, a sweep, the mutants.
type Run struct {
	Name    string    `json:"name"` // "soak"
	At      time.Time `json:"at"`
	Commit  string    `json:"commit"`
	Command string    `json:"command"` // to repeat it: "make soak DURATION=10m SEED=42"
	Result  string    `json:"result"`  // "61 rounds, 0 violations"
	Passed  bool      `json:"passed"`
}

// commitVariable names the commit that runs, for [Run].
const commitVariable = "E2E_COMMIT"

// Report shows the result of a run, and appends it to the file that the environment names, if it does.
func Report(t testing.TB, r Run) {
	t.Helper()
	t.Logf("%s: %s", r.Name, r.Result)
	if path := os.Getenv(resultsVariable); path != "" {
		r.At, r.Commit = time.Now().UTC(), os.Getenv(commitVariable)
		appendResult(t, path, map[string]Run{"run": r})
	}
}

// appendResult adds a line to a results file.
func appendResult(t testing.TB, path string, result any) {
	t.Helper()
	line, err := json.Marshal(result)
	if err != nil {
		t.Errorf("write the result: %v", err)
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Errorf("write the result: %v", err)
	}
}
