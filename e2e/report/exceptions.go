package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"harmony.dev/e2e/lab"
)

// Exception is a test that does not run on a stack of containers.
type Exception struct {
	Test   string
	Needs  lab.Ability // what it needs of its stack, and containers lack; "" for a test without a stack
	Reason string
}

// none stands for no ability in a list of exceptions.
const none = "-"

// Exceptions reads a list: test, need and reason, separated by tabs; lines that begin with # are comments.
func Exceptions(r io.Reader) ([]Exception, error) {
	var list []Exception
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || slices.Contains(fields, "") {
			return nil, fmt.Errorf("line %d is not test, need and reason, separated by tabs: %q", n, line)
		}
		e := Exception{Test: fields[0], Needs: lab.Ability(fields[1]), Reason: fields[2]}
		if fields[1] == none {
			e.Needs = ""
		}
		list = append(list, e)
	}
	return list, lines.Err()
}

// Pattern matches the tests of the list, for `go test -skip`.
func Pattern(list []Exception) string {
	var names []string
	for _, e := range list {
		names = append(names, regexp.QuoteMeta(e.Test))
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// CheckExceptions compares a list with what tests were seen to need of a stack of processes: it has those that need
// something which containers lack, and no others. Tests is every test that there is.
func CheckExceptions(list []Exception, tests []string, results []lab.Result) error {
	needed := map[string][]lab.Ability{} // by top-level test; nil: it made a stack, and needed nothing
	for _, r := range results {
		test, _, _ := strings.Cut(r.Test, "/")
		needed[test] = append(needed[test], r.Needs...)
	}
	var errs []error
	listed := map[string]bool{}
	for _, e := range list {
		listed[e.Test] = true
		needs, ran := needed[e.Test]
		switch {
		case !slices.Contains(tests, e.Test):
			errs = append(errs, fmt.Errorf("%s: there is no such test", e.Test))
		case e.Needs == "" && ran:
			errs = append(errs, fmt.Errorf("%s: it does make a stack", e.Test))
		case e.Needs != "" && !slices.Contains(lab.OnlyProcesses(), e.Needs):
			errs = append(errs, fmt.Errorf("%s: containers do have %q, or nothing does", e.Test, e.Needs))
		case e.Needs != "" && !slices.Contains(needs, e.Needs):
			errs = append(errs, fmt.Errorf("%s: it does not need %q", e.Test, e.Needs))
		}
	}
	for test, needs := range needed {
		for _, n := range needs {
			if slices.Contains(lab.OnlyProcesses(), n) && !listed[test] {
				errs = append(errs, fmt.Errorf("%s needs %q, and is not listed", test, n))
			}
		}
	}
	return errors.Join(errs...)
}

// Numbers returns the scenarios, 1 to 24, of which a test passed in these results and none failed.
func Numbers(results []lab.Result) []int {
	passed := map[int]bool{}
	for _, r := range results {
		var n int
		if _, err := fmt.Sscanf(r.Test, "TestR%d_", &n); err != nil {
			continue
		}
		if before, ok := passed[n]; !ok || before {
			passed[n] = r.Passed
		}
	}
	var numbers []int
	for n, ok := range passed {
		if ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}
