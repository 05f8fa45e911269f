package introspection

import (
	"reflect"
	"strings"
	"testing"
)

// session writes a document: in Go's raw strings there can be no back quotes.
func session(lines ...string) string {
	return strings.ReplaceAll(strings.Join(lines, "\n"), "'''", fence) + "\n"
}

func TestParse(t *testing.T) {
	got, err := Parse(session(
		"# Title", "$ no command", "'''console", "$ one", "$ two 'x'", "out", "  put", "'''", "text",
		"'''console", "$ three", "…", "^C", "'''", "and in another shell", "'''console beside", "$ four", "$ five", "'''",
		"'''console accounts", "$ six", "'''"))
	want := []Example{
		{Line: 4, Command: "one"},
		{Line: 5, Command: "two 'x'", Shown: "out\n  put\n"},
		{Line: 11, Command: "three", Shown: "…\n", Interrupt: true, Beside: []string{"four", "five"}},
		{Line: 21, Command: "six", Accounts: true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
}

// Whatever looks like an example and would not be run is an error.
func TestParse_LeavesNothingOut(t *testing.T) {
	for name, doc := range map[string]string{
		"another language":           session("'''sh", "nats kv ls", "'''"),
		"no language":                session("'''", "$ nats kv ls", "'''"),
		"an indented block":          session("- list", "  '''console", "  $ nats kv ls", "  '''"),
		"no command":                 session("'''console", "'''"),
		"output only":                session("'''console", "out", "$ nats kv ls", "'''"),
		"no end":                     session("'''console", "$ nats kv ls"),
		"an end with more":           session("'''console", "$ nats kv ls", "'''console", "$ nats kv ls", "'''"),
		"beside nothing":             session("'''console beside", "$ nats kv ls", "'''"),
		"beside what ends by itself": session("'''console", "$ nats kv ls", "'''", "'''console beside", "$ nats kv ls", "'''"),
		"output beside":              session("'''console", "$ a", "^C", "'''", "'''console beside", "$ b", "out", "'''"),
		"after an interrupt":         session("'''console", "$ a", "^C", "$ b", "'''"),
	} {
		if got, err := Parse(doc); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
