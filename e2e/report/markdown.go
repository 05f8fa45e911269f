package report

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"harmony.dev/e2e/lab"
)

// ScenarioCount is how many numbered scenarios there must be.
const ScenarioCount = 24

// enough is how many runs of a test the table is made from, at least.
const enough = 5

// onThree are the scenarios that must have run on three NATS nodes, too.
var onThree = []int{1, 7, 23}

// others are how many runs there must be that are no scenarios, by name.
var others = map[string]int{"mutants": 1, "soak": 3, "sweep": 1}

// part is what the command of a run says that was not whole.
var part = regexp.MustCompile(` (S|COUNT|SWEEP)=`)

// soakTime is how long a soak must have been, at least.
const soakTime = 10 * time.Minute

// Markdown is docs/recovery.md. It is an error when a number has no test, a test no result or a result no
// test.
func Markdown(scenarios []Scenario, s Summary) (string, error) {
	if err := agree(scenarios, s); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, head, s.At.UTC().Format(time.DateOnly), s.Commit)
	overview(&b, scenarios, s)
	last := 0
	for _, c := range scenarios {
		if c.Number != last {
			fmt.Fprintf(&b, "\n## Scenario %d\n", c.Number)
			last = c.Number
		}
		details(&b, c, s)
	}
	fmt.Fprint(&b, "\n## Other runs\n\n| run | when | commit | command | result |\n|---|---|---|---|---|\n")
	for _, r := range s.Runs {
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` | %s |\n", r.Name, r.At.UTC().Format(time.DateOnly), r.Commit, cell(r.Command), cell(r.Result))
	}
	return b.String(), nil
}

const head = `# Recovery

What the operator survives, and how long it takes until everything is correct again. Each row is a test with real
processes and a real fault, and the times are of runs that passed. Over a run stands a recorder of every write, and checkers that
look for what must never happen: a write of a deposed holder, a workload deleted and put back, a value written twice, a
status that does not add up. What they find counts as a wrong write. Where the column says "-", the test is about time at
a size at which a recorder would be what is measured; it compares all keys before and after.

The table shows, of all times that a test measures, the one that came nearest to its limit; the others stand below, with
the fault and the promise in full.

This file is written by ` + "`make recovery`" + `, from runs on 2 shared cores with a lease of 3 s (18 and 20: 1 s), on %s at commit
%s, with the race detector on but for the tests with a "-". The scenario of one number is run by ` + "`make e2e S=R07`" + `.

`

// overview is a table of all tests.
func overview(b *strings.Builder, scenarios []Scenario, s Summary) {
	fmt.Fprintln(b, "| # | scenario | time to correct | median | worst | limit | runs | wrong writes | found |")
	fmt.Fprintln(b, "|---|---|---|---|---|---|---|---|---|")
	for _, c := range scenarios {
		for _, name := range subtests(c, s) {
			t := s.Tests[name]
			what := tightest(t)
			found := ""
			if c.Found != "-" {
				found = "a defect"
			}
			fmt.Fprintf(b, "| [%d](#scenario-%d) | %s | %s | %s | %d | %s | %s |\n",
				c.Number, c.Number, cell(title(c, name)), cell(what), times(t.Measured[what]), t.Runs, wrong(t), found)
		}
	}
}

// details is what a test does, and all that it measured.
func details(b *strings.Builder, c Scenario, s Summary) {
	fmt.Fprintf(b, "\n**%s** ([%s](../e2e/scenarios/%s))\n\n", words(c.Test), c.File, c.File)
	fmt.Fprintf(b, "- Fault: %s\n- Promise: %s\n- Budget: %s\n", c.Fault, c.Promise, c.Budget)
	if c.Found != "-" {
		fmt.Fprintf(b, "- Found: %s\n", c.Found)
	}
	fmt.Fprint(b, "\n| measured | median | worst | limit |\n|---|---|---|---|\n")
	for _, name := range subtests(c, s) {
		_, sub, ok := strings.Cut(name, "/")
		if ok {
			sub = strings.ReplaceAll(sub, "_", " ") + ": "
		}
		t := s.Tests[name]
		for _, what := range slices.Sorted(maps.Keys(t.Measured)) {
			fmt.Fprintf(b, "| %s | %s |\n", cell(sub+what), times(t.Measured[what]))
		}
	}
}

// tightest names what came nearest to its limit; what has none comes last.
func tightest(t Test) string {
	nearness := func(what string) float64 {
		if m := t.Measured[what]; m.Limit > 0 {
			return m.Worst / m.Limit
		}
		return -1
	}
	return slices.MaxFunc(slices.Sorted(maps.Keys(t.Measured)), func(a, b string) int {
		return cmp.Compare(nearness(a), nearness(b))
	})
}

// agree compares tests, numbers and results.
func agree(scenarios []Scenario, s Summary) error {
	have := map[int]bool{}
	known := map[string]bool{}
	for _, c := range scenarios {
		have[c.Number], known[c.Test] = true, true
		if len(subtests(c, s)) == 0 {
			return fmt.Errorf("%s has no result: run 'make recovery'", c.Test)
		}
		for _, name := range subtests(c, s) {
			if err := s.Tests[name].proves(); err != nil {
				return fmt.Errorf("%s %w: run 'make recovery' once that is mended", name, err)
			}
		}
	}
	for n := 1; n <= ScenarioCount; n++ {
		if !have[n] {
			return fmt.Errorf("scenario %d has no test", n)
		}
	}
	for _, n := range onThree {
		if !ranOnThree(n, s) {
			return fmt.Errorf("scenario %d has no result on three NATS nodes", n)
		}
	}
	for name := range s.Tests {
		if test, _, _ := strings.Cut(name, "/"); numbered.MatchString(test) && !known[test] {
			return fmt.Errorf("the results have %s, which is no test any more: run 'make recovery'", test)
		}
	}
	return complete(s.Runs)
}

func ranOnThree(number int, s Summary) bool {
	for name, t := range s.Tests {
		if m := numbered.FindStringSubmatch(name); m != nil && m[1] == fmt.Sprintf("%02d", number) && t.Nodes == 3 {
			return true
		}
	}
	return false
}

// complete returns nil when there are as many runs of each kind as there must be, each of them whole, and none failed.
func complete(runs []lab.Run) error {
	n := map[string]int{}
	for _, r := range runs {
		switch {
		case !r.Passed:
			return fmt.Errorf("'%s' failed: %s", r.Command, r.Result)
		case part.MatchString(r.Command) || r.Name == "soak" && lasted(r.Command) < soakTime:
			return fmt.Errorf("'%s' is not a whole one: see CONTRIBUTING.md", r.Command)
		}
		n[r.Name]++
	}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		if n[name] < others[name] {
			return fmt.Errorf("%d runs of %s, want %d: see CONTRIBUTING.md", n[name], name, others[name])
		}
	}
	return nil
}

// lasted returns the duration that a command names.
func lasted(command string) time.Duration {
	_, text, _ := strings.Cut(command, "DURATION=")
	text, _, _ = strings.Cut(text, " ")
	d, _ := time.ParseDuration(text) // 0 when it names none
	return d
}

// proves returns nil when a test has shown what it promises.
func (t Test) proves() error {
	switch {
	case t.Runs < enough:
		return fmt.Errorf("ran %d times, which is less than %d", t.Runs, enough)
	case t.Failed > 0:
		return fmt.Errorf("failed in %d of %d runs", t.Failed, t.Runs)
	case t.Violations > 0:
		return fmt.Errorf("has %d wrong writes", t.Violations)
	case len(t.Measured) == 0:
		return errors.New("measured no time")
	case len(t.Faults) == 0 && !t.Unrecorded:
		return errors.New("recorded no fault")
	}
	for what, m := range t.Measured {
		if m.Limit > 0 && m.Worst > m.Limit {
			return fmt.Errorf("took %.1f s for %q, the limit is %g s", m.Worst, what, m.Limit)
		}
	}
	return nil
}

// subtests are the names of the results of a scenario.
func subtests(c Scenario, s Summary) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.Tests)) {
		if test, _, _ := strings.Cut(name, "/"); test == c.Test {
			out = append(out, name)
		}
	}
	return out
}

func title(c Scenario, name string) string {
	_, sub, ok := strings.Cut(name, "/")
	if !ok {
		return words(c.Test)
	}
	return words(c.Test) + ": " + strings.ReplaceAll(sub, "_", " ")
}

var (
	afterLower = regexp.MustCompile(`([a-z])([A-Z0-9])`)
	afterUpper = regexp.MustCompile(`([A-Z])([A-Z][a-z])`)
)

// words are those of a test's name: "TestR07_TwoHolders" is "two holders", "TestR08_NATSIsCut" is "NATS is cut".
func words(test string) string {
	_, name, _ := strings.Cut(test, "_")
	name = afterUpper.ReplaceAllString(afterLower.ReplaceAllString(name, "$1 $2"), "$1 $2")
	all := strings.Split(name, " ")
	for i, w := range all {
		if len(w) == 1 || w != strings.ToUpper(w) {
			all[i] = strings.ToLower(w)
		}
	}
	return strings.Join(all, " ")
}

func wrong(t Test) string {
	if t.Unrecorded {
		return "-"
	}
	return fmt.Sprint(t.Violations)
}

// times are three cells: median, worst and limit.
func times(m Measured) string {
	limit := "-"
	if m.Limit > 0 {
		limit = fmt.Sprintf("%g s", m.Limit)
	}
	return fmt.Sprintf("%.1f s | %.1f s | %s", m.Median, m.Worst, limit)
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
