package report

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"harmony.dev/e2e/lab"
)

const results = `{"test":"TestR01_Restart/R1","at":"2026-01-02T03:04:05Z","nodes":1,"passed":true,"measured":[{"what":"ready","seconds":2},{"what":"ready","seconds":9,"limit":10}],"faults":["kill"],"violations":0,"sometimes":{"brake":0,"stale":2,"rebuild":1,"takeover":1,"degraded":1,"garbage":1,"poison":1}}
{"test":"TestR01_Restart/R1","at":"2026-01-02T03:05:05Z","commit":"def","nodes":1,"passed":false,"measured":[{"what":"ready","seconds":4}],"faults":["kill","pause"],"violations":3,"sometimes":{"brake":0}}
{"test":"TestSoak/rounds","at":"2026-01-02T03:05:05Z","nodes":1,"passed":false}

{"run":{"name":"soak","at":"2026-01-01T00:00:00Z","commit":"abc","command":"make soak SEED=1","result":"6 rounds"}}
{"run":{"name":"soak","at":"2026-01-01T00:00:00Z","commit":"abc","command":"make soak SEED=2","result":"7 rounds"}}
`

func summarized(t *testing.T) (Summary, []lab.Result) {
	t.Helper()
	all, runs, err := Read(strings.NewReader(results))
	if err != nil {
		t.Fatal(err)
	}
	before := []lab.Run{{Name: "mutants", Command: "make mutants", Result: "9 killed, 0 survived"}, {Name: "soak", Command: "make soak SEED=9", Result: "old"}}
	return Summarize("abc", all, runs, before), all
}

func TestSummarize(t *testing.T) {
	s, all := summarized(t)
	got := s.Tests["TestR01_Restart/R1"]
	if m := got.Measured["ready"]; m.Median != 4 || m.Worst != 9 || m.Count != 3 {
		t.Errorf("measured %+v", m)
	}
	if got.Runs != 2 || got.Failed != 1 || got.Violations != 3 || strings.Join(got.Faults, " ") != "kill pause" {
		t.Errorf("summed up: %+v", got)
	}
	if want := time.Date(2026, 1, 2, 3, 5, 5, 0, time.UTC); !s.At.Equal(want) {
		t.Errorf("at %s", s.At)
	}
	if len(s.Tests) != 1 {
		t.Errorf("more than scenarios: %v", s.Tests)
	}
	if s.Commit != "abc, def" {
		t.Errorf("commit %q", s.Commit)
	}
	if len(s.Runs) != 3 || s.Runs[0].Name != "mutants" || s.Runs[1].Result != "6 rounds" || s.Runs[2].Result != "7 rounds" {
		t.Errorf("runs: %+v", s.Runs)
	}
	if missing := Missing(all); strings.Join(missing, " ") != "brake fence-refused" {
		t.Errorf("missing: %v", missing)
	}
	if missing := Missing(nil); len(missing) < 8 {
		t.Errorf("missing of nothing: %v", missing)
	}
}

func TestRead_NamesTheLineThatIsWrong(t *testing.T) {
	if _, _, err := Read(strings.NewReader(results + "nonsense\n")); err == nil || !strings.Contains(err.Error(), "line 7") {
		t.Errorf("error %v", err)
	}
}

const source = `package scenarios

import "testing"

// Fault:   SIGKILL of all
// services.
// Promise: nothing changes.
// Budget:  60 s.
// Found:   -
func TestR01_ColdRESTRestart(t *testing.T) {}

func TestOther(t *testing.T) {}
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestScenarios(t *testing.T) {
	all, err := Scenarios(write(t, "r01_restart_test.go", source))
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	want := Scenario{
		Number: 1, Test: "TestR01_ColdRESTRestart", File: "r01_restart_test.go",
		Fault: "SIGKILL of all services.", Promise: "nothing changes.", Budget: "60 s.", Found: "-",
	}
	if all[0] != want {
		t.Errorf("got %+v", all[0])
	}
	if got := words(want.Test); got != "cold REST restart" {
		t.Errorf("words %q", got)
	}
	if got := words("TestR09_With10kKeys"); got != "with 10k keys" {
		t.Errorf("words %q", got)
	}
	for name, c := range map[string]struct{ file, text, want string }{
		"wrong file":   {"r02_restart_test.go", source, "does not begin with r01_"},
		"part missing": {"r01_restart_test.go", strings.Replace(source, "// Found:   -\n", "", 1), `does not say "Found:"`},
		"no comment":   {"r01_restart_test.go", "package x\nfunc TestR01_X() {}", "does not say"},
	} {
		if _, err := Scenarios(write(t, c.file, c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// every is one scenario of each number, and a summary that has a result of each.
func every() ([]Scenario, Summary) {
	s := Summary{Tests: map[string]Test{}, Commit: "abc"}
	for _, command := range []string{"soak DURATION=10m0s SEED=1", "soak DURATION=10m0s SEED=2", "soak DURATION=15m0s SEED=3", "sweep SEED=1", "mutants"} {
		name, _, _ := strings.Cut(command, " ")
		s.Runs = append(s.Runs, lab.Run{Name: name, Command: "make " + command, Passed: true})
	}
	var all []Scenario
	for n := 1; n <= ScenarioCount; n++ {
		test := "TestR" + string([]byte{byte('0' + n/10), byte('0' + n%10)}) + "_ItHappens"
		all = append(all, Scenario{Number: n, Test: test, File: "f_test.go", Fault: "a | b", Promise: "p", Budget: "b", Found: "-"})
		s.Tests[test] = Test{Runs: 5, Nodes: 3, Faults: []string{"kill"}, Measured: map[string]Measured{"ready": {Median: 1.26, Worst: 3, Limit: 4}}}
	}
	return all, s
}

func TestMarkdown(t *testing.T) {
	all, s := every()
	all[7].Found = "something"
	s.Tests[all[6].Test].Measured["slow"] = Measured{Median: 5, Worst: 9}
	text, err := Markdown(all, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| [7](#scenario-7) | it happens | ready | 1.3 s | 3.0 s | 4 s | 5 | 0 |  |", "## Scenario 24", "- Fault: a | b",
		"| [8](#scenario-8) | it happens | ready | 1.3 s | 3.0 s | 4 s | 5 | 0 | a defect |", "| slow | 5.0 s | 9.0 s | - |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if _, err := Markdown(all[1:], s); err == nil || !strings.Contains(err.Error(), "scenario 1 has no test") {
		t.Errorf("a number without a test: %v", err)
	}
	for want, bad := range map[string]Test{
		"ran 4 times":        {Runs: 4},
		"failed in 1 of 5":   {Runs: 5, Failed: 1},
		"has 2 wrong writes": {Runs: 5, Violations: 2},
		"measured no time":   {Runs: 5},
		"recorded no fault":  {Runs: 5, Measured: map[string]Measured{"ready": {Worst: 7, Limit: 8}}},
		"took 9.0 s":         {Runs: 5, Faults: []string{"kill"}, Measured: map[string]Measured{"ready": {Worst: 9, Limit: 8}}},
	} {
		s.Tests[all[3].Test] = bad
		if _, err := Markdown(all, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	delete(s.Tests, all[3].Test)
	if _, err := Markdown(all, s); err == nil || !strings.Contains(err.Error(), "has no result") {
		t.Errorf("a test without a result: %v", err)
	}
	for want, spoil := range map[string]func(s *Summary){
		"no result on three": func(s *Summary) {
			t := s.Tests[all[6].Test]
			t.Nodes = 1
			s.Tests[all[6].Test] = t
		},
		"2 runs of soak, want 3":      func(s *Summary) { s.Runs = slices.Delete(s.Runs, 0, 1) },
		"0 runs of mutants, want 1":   func(s *Summary) { s.Runs = s.Runs[:4] },
		"'make sweep SEED=1' failed":  func(s *Summary) { s.Runs[3].Passed = false },
		"SWEEP=6' is not a whole one": func(s *Summary) { s.Runs[3].Command += " SWEEP=6" },
		"COUNT=5' is not a whole one": func(s *Summary) { s.Runs[4].Command += " COUNT=5" },
		"S=R06' is not a whole one":   func(s *Summary) { s.Runs[4].Command += " S=R06" },
		"=9m59s' is not a whole one":  func(s *Summary) { s.Runs[0].Command = "make soak DURATION=9m59s" },
	} {
		_, s = every()
		spoil(&s)
		if _, err := Markdown(all, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	_, s = every()
	s.Tests["TestR05_Gone/R3"] = Test{}
	if _, err := Markdown(all, s); err == nil || !strings.Contains(err.Error(), "no test any more") {
		t.Errorf("a result without a test: %v", err)
	}
}
