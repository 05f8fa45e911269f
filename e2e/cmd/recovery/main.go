// Recovery writes docs/recovery.md from the results of scenarios, and checks that it is true.
//
//	recovery update RESULTS COMMIT   sum results up into docs/recovery.json, and write docs/recovery.md
//	recovery check                   docs/recovery.md is what the tests and docs/recovery.json say
//	recovery reached RESULTS         every fault path was reached in these results
//
// It runs in the root of the repository.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"harmony.dev/e2e/lab"
	"harmony.dev/e2e/report"
)

const (
	summaryFile = "docs/recovery.json"
	document    = "docs/recovery.md"
	sources     = "e2e/scenarios"
)

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
		return reached(args[1])
	}
	return errors.New("usage: recovery update RESULTS COMMIT | check | reached RESULTS")
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
