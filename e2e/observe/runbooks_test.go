package observe

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	chapter = regexp.MustCompile(`(?m)^## (Fleet\w+)$`)
	command = regexp.MustCompile(`(?m)^(fleet|nats|kubectl) `)
)

// TestRunbooks_OneForEachAlert, where the alert's link leads: what GitHub makes of a heading.
func TestRunbooks_OneForEachAlert(t *testing.T) {
	text := read(t, "docs", "runbooks.md")
	seen := map[string]int{}
	for _, m := range chapter.FindAllStringSubmatch(text, -1) {
		seen[m[1]]++
	}
	for _, r := range alerts(t) {
		if seen[r.Alert] != 1 {
			t.Errorf("%s has %d chapters", r.Alert, seen[r.Alert])
		}
		if link := "#" + strings.ToLower(r.Alert); !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/runbooks.md"+link) {
			t.Errorf("%s leads to %s", r.Alert, r.Annotations["runbook_url"])
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		for _, name := range []string{"summary", "description"} {
			if !strings.HasSuffix(r.Annotations[name], ".") {
				t.Errorf("%s: the %s is no sentence: %q", r.Alert, name, r.Annotations[name])
			}
		}
		delete(seen, r.Alert)
	}
	for name := range seen {
		t.Errorf("there is no alert %s", name)
	}
}

// TestRunbooks_EachIsWhole: it says what is wrong, what goes on, where to look, what mends it, and how to see that it is mended.
func TestRunbooks_EachIsWhole(t *testing.T) {
	parts := chapter.Split(read(t, "docs", "runbooks.md"), -1)[1:]
	names := chapter.FindAllStringSubmatch(read(t, "docs", "runbooks.md"), -1)
	for i, text := range parts {
		var heads []string
		for _, m := range regexp.MustCompile(`(?m)^\*\*(\w+)\.\*\* `).FindAllStringSubmatch(text, -1) {
			heads = append(heads, m[1])
		}
		if want := []string{"Means", "Meanwhile", "Look", "Mend", "Verify"}; !slices.Equal(heads, want) {
			t.Errorf("%s has %v, want %v", names[i][1], heads, want)
		}
		if !strings.Contains(text, "`fleet ") && !command.MatchString(text) {
			t.Errorf("%s names no command", names[i][1])
		}
	}
}
