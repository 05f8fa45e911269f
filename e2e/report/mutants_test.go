package report

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"harmony.dev/e2e/invariant"
)

// unbroken are the checkers that no mutant can make fail, and why.
var unbroken = map[string]string{
	"audit": "what a server has acknowledged it alone can lose without a trace",
}

// Each scenario and each checker has been seen to fail: there is a mutant that it kills.
func TestMutants_NoneIsMissing(t *testing.T) {
	scenarios, err := Scenarios("../scenarios")
	if err != nil {
		t.Fatal(err)
	}
	tests, checkers := map[string]bool{}, map[string]bool{}
	for _, s := range scenarios {
		tests[s.Test] = true
	}
	for _, test := range backupTests(t) {
		tests[test] = true
	}
	for _, c := range invariant.All() {
		checkers[c.Name] = true
	}
	patches, err := filepath.Glob("../mutants/*")
	if err != nil {
		t.Fatal(err)
	}
	killers := map[string]bool{}
	for _, path := range patches {
		m := mutantOf(t, path)
		if out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "apply", "--check", "e2e/report/"+path).CombinedOutput(); err != nil {
			t.Errorf("%s does not apply: %v\n%s", path, err, out)
		}
		test, _, _ := strings.Cut(m["Scenario"], "/")
		subject := strings.ToLower(strings.TrimPrefix(test, "Test"))
		subject, _, _ = strings.Cut(subject, "_")
		if !tests[test] || !strings.HasPrefix(filepath.Base(path), subject+"-") {
			t.Errorf("%s is about %s: there is no such test of what it is named after", path, test)
			continue
		}
		if c := m["Checker"]; c != "" && !checkers[c] {
			t.Errorf("%s is about the checker %s: there is none", path, c)
		}
		killers[subject], killers[m["Checker"]] = true, true
	}
	for n := 1; n <= ScenarioCount; n++ {
		if !killers[fmt.Sprintf("r%02d", n)] {
			t.Errorf("scenario %d has no mutant", n)
		}
	}
	for name := range checkers {
		if _, is := unbroken[name]; is == killers[name] {
			t.Errorf("checker %s: it has a mutant: %t, it can have one: %t", name, killers[name], !is)
		}
	}
}

// backupTests are the names of the tests that are no scenario and have mutants.
func backupTests(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile("../backup/backup_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^func (TestBackup_\w+)\(`).FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	return names
}

var mutantName = regexp.MustCompile(`^(r\d\d|backup)(-[a-z0-9]+)+\.patch$`)

// mutantOf reads the lines above the patch.
func mutantOf(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !mutantName.MatchString(filepath.Base(path)) {
		t.Errorf("%s is not named as rNN-words.patch or backup-words.patch", path)
	}
	head, patch, _ := strings.Cut(string(text), "\n\n")
	m := map[string]string{}
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		m[name] = value
	}
	if m["Scenario"] == "" || m["Guard"] == "" || !strings.HasPrefix(patch, "diff --git a/") {
		t.Errorf("%s does not say Scenario and Guard above its patch", path)
	}
	if (m["Checker"] == "") == (m["Failure"] == "") {
		t.Errorf("%s wants either the Checker that fails or the Failure that the scenario prints: any other may be an accident", path)
	}
	return m
}
