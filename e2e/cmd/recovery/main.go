// Recovery writes docs/recovery.md from the results of scenarios, and checks that it is true.
//
//	recovery update RESULTS COMMIT   sum results up into docs/recovery.json, and write docs/recovery.md
//	recovery check                   docs/recovery.md is what the tests and docs/recovery.json say
//	recovery reached RESULTS         every fault path was reached in these results of all tests on processes, and
//	                                 the list of what does not run on containers is what they needed
//	recovery skip                    the tests of that list, for go test -skip
//	recovery containers RESULTS CMD  say which scenarios passed on containers, in the results too; fewer than 15 fail
//
// It runs in the root of the repository.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/report"
)

const (
	summaryFile = "docs/recovery.json"
	document    = "docs/recovery.md"
	sources     = "e2e/scenarios"
	exceptions  = sources + "/not-on-compose.txt"
)

// leastOnContainers is how many of the 24 scenarios have to pass on containers.
const leastOnContainers = 15

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "recovery:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "update":
		return update(args[1], args[2])
	case len(args) == 1 && args[0] == "check":
		return check()
	case len(args) == 2 && args[0] == "reached":
		return errors.Join(reached(args[1]), listed(args[1]))
	case len(args) == 1 && args[0] == "skip":
		return skip()
	case len(args) == 3 && args[0] == "containers":
		return containers(args[1], args[2])
	}
	return errors.New("usage: recovery update RESULTS COMMIT | check | reached RESULTS | skip | containers RESULTS CMD")
}

func read(path string) (results []lab.Result, runs []lab.Run, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return report.Read(f)
}

func update(path, commit string) error {
	results, runs, err := read(path)
	if err != nil {
		return err
	}
	results = slices.DeleteFunc(results, func(r lab.Result) bool { return r.Stack != "processes" }) // the table is of those
	before, err := summary()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s := before
	s.Runs = report.Summarize(commit, nil, runs, before.Runs).Runs
	if len(results) > 0 {
		s = report.Summarize(commit, results, runs, before.Runs)
	}
	doc, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	text, err := markdown(s) // refuses what does not prove enough: then nothing is written
	if err != nil {
		return err
	}
	if err := os.WriteFile(summaryFile, append(doc, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(document, []byte(text), 0o644)
}

func check() error {
	s, err := summary()
	if err != nil {
		return err
	}
	want, err := markdown(s)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("%s is not what the tests and %s say: run 'make recovery'", document, summaryFile)
	}
	return nil
}

func reached(path string) error {
	results, _, err := read(path)
	if err != nil {
		return err
	}
	if missing := report.Missing(results); len(missing) > 0 {
		return fmt.Errorf("no scenario reached: %s", strings.Join(missing, ", "))
	}
	fmt.Println("every fault path was reached")
	return nil
}

func readExceptions() ([]report.Exception, error) {
	f, err := os.Open(exceptions)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return report.Exceptions(f)
}

func skip() error {
	list, err := readExceptions()
	if err != nil {
		return err
	}
	fmt.Println(report.Pattern(list))
	return nil
}

func listed(path string) error {
	results, _, err := read(path)
	if err != nil {
		return err
	}
	list, err := readExceptions()
	if err != nil {
		return err
	}
	tests, err := report.Tests(sources)
	if err != nil {
		return err
	}
	if err := report.CheckExceptions(list, tests, results); err != nil {
		return fmt.Errorf("%s: %w", exceptions, err)
	}
	fmt.Printf("%s is what the tests needed\n", exceptions)
	return nil
}

// containers appends a line about the run to the results.
func containers(path, command string) error {
	results, _, err := read(path)
	if err != nil {
		return err
	}
	numbers := report.Numbers(results)
	run := lab.Run{
		Name: "containers", At: time.Now().UTC(), Commit: os.Getenv("E2E_COMMIT"), Command: command,
		Result: fmt.Sprintf("%d of 24 scenarios, in %d tests", len(numbers), len(results)), Passed: len(numbers) >= leastOnContainers,
	}
	fmt.Printf("%s: %v\n", run.Result, numbers)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		err = errors.Join(json.NewEncoder(f).Encode(map[string]lab.Run{"run": run}), f.Close())
	}
	if err == nil && !run.Passed {
		err = fmt.Errorf("%d have to pass on containers", leastOnContainers)
	}
	return err
}

func summary() (s report.Summary, err error) {
	doc, err := os.ReadFile(summaryFile)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(doc, &s)
}

func markdown(s report.Summary) (string, error) {
	scenarios, err := report.Scenarios(sources)
	if err != nil {
		return "", err
	}
	return report.Markdown(scenarios, s)
}
