// Package report turns what runs of the scenarios showed into docs/recovery.md.
package report

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"harmony.dev/e2e/invariant"
	"harmony.dev/e2e/lab"
)

// Summary is what is kept of the runs, as docs/recovery.json.
type Summary struct {
	Commit string          `json:"commit"` // of the product that ran; "a, b" when the results are of two
	At     time.Time       `json:"at"`     // of the last result
	Tests  map[string]Test `json:"tests"`  // by name, with that of the subtest: "TestR01_ColdRestart/R3"
	Runs   []lab.Run       `json:"runs"`   // other than scenarios: the last of each command
}

// Test is what the runs of one test showed.
type Test struct {
	Runs       int                 `json:"runs"`
	Failed     int                 `json:"failed"`
	Unrecorded bool                `json:"unrecorded,omitempty"` // what was written was not judged
	Violations int                 `json:"violations"`           // of invariants, in all runs
	Measured   map[string]Measured `json:"measured"`             // by what was measured
	Faults     []string            `json:"faults"`               // the kinds that were injected
	Nodes      int                 `json:"nodes"`                // of NATS
}

// Measured are the times of one kind, in seconds.
type Measured struct {
	Median float64 `json:"median"`
	Worst  float64 `json:"worst"`
	Limit  float64 `json:"limit,omitempty"`
	Count  int     `json:"count"`
}

// line is one line of a results file.
type line struct {
	lab.Result
	Run *lab.Run `json:"run,omitempty"`
}

// Read reads a results file: what tests appended to the file that E2E_RESULTS names. Results of tests that are no
// scenarios, of a soak's stack for example, are left out.
func Read(r io.Reader) (results []lab.Result, runs []lab.Run, err error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 4<<20)
	for n := 1; scanner.Scan(); n++ {
		if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			return nil, nil, fmt.Errorf("line %d of the results: %w", n, err)
		}
		switch {
		case l.Run != nil:
			runs = append(runs, *l.Run)
		case numbered.MatchString(l.Test):
			results = append(results, l.Result)
		}
	}
	return results, runs, scanner.Err()
}

// Summarize sums results up. Those that do not say of which commit they are, are of the one that is given. Runs of
// before are kept where there are no newer ones of the same name.
func Summarize(commit string, results []lab.Result, runs, before []lab.Run) Summary {
	s := Summary{Commit: commits(commit, results), Tests: map[string]Test{}}
	times := map[string]map[string][]lab.Measure{}
	for _, r := range results {
		if r.At.After(s.At) {
			s.At = r.At
		}
		t := s.Tests[r.Test]
		t.Runs++
		t.Violations += r.Violations
		t.Unrecorded = t.Unrecorded || r.Unrecorded
		t.Nodes = r.Nodes
		if !r.Passed {
			t.Failed++
		}
		t.Faults = slices.Compact(slices.Sorted(slices.Values(append(t.Faults, r.Faults...))))
		s.Tests[r.Test] = t
		if times[r.Test] == nil {
			times[r.Test] = map[string][]lab.Measure{}
		}
		for _, m := range r.Measured {
			times[r.Test][m.What] = append(times[r.Test][m.What], m)
		}
	}
	for name, t := range s.Tests {
		t.Measured = map[string]Measured{}
		for what, all := range times[name] {
			t.Measured[what] = measured(all)
		}
		s.Tests[name] = t
	}
	s.Runs = merge(before, runs)
	return s
}

// merge returns the newest run of each command, and drops those of before whose name has newer ones.
func merge(before, runs []lab.Run) []lab.Run {
	newer := func(old lab.Run) bool {
		return slices.ContainsFunc(runs, func(r lab.Run) bool { return r.Name == old.Name })
	}
	last := map[string]lab.Run{}
	for _, r := range slices.Concat(slices.DeleteFunc(slices.Clone(before), newer), runs) {
		last[r.Command] = r
	}
	return slices.SortedFunc(maps.Values(last), func(a, b lab.Run) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Command, b.Command))
	})
}

// commits names those that results are of, in the order in which they came.
func commits(unnamed string, results []lab.Result) string {
	var all []string
	for _, r := range results {
		if c := cmp.Or(r.Commit, unnamed); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return strings.Join(all, ", ")
}

func measured(all []lab.Measure) Measured {
	slices.SortFunc(all, func(a, b lab.Measure) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return Measured{
		Median: all[len(all)/2].Seconds, Worst: all[len(all)-1].Seconds, Limit: all[0].Limit, Count: len(all),
	}
}

// Missing names the fault paths that no result reached.
func Missing(results []lab.Result) []string {
	total := invariant.Sometimes(nil)
	for _, r := range results {
		for path, n := range r.Sometimes {
			total[path] += n
		}
	}
	var out []string
	for _, path := range slices.Sorted(maps.Keys(total)) {
		if total[path] == 0 {
			out = append(out, path)
		}
	}
	return out
}
