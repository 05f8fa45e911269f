package introspection

import "testing"

func TestMatch(t *testing.T) {
	const table = "╭───────────╮\n│ web-north │\n│ 12345     │\n╰───────────╯\n"
	for name, c := range map[string]struct {
		shown, output string
		want          bool
	}{
		"the same":                     {"a b\n", "a b\n", true},
		"nothing":                      {"", "\n", true},
		"nothing is shown of it":       {"", "a\n", false},
		"it prints nothing":            {"a\n", "", false},
		"broken and indented":          {"{\"a\":1,\n  \"b\":[2]}\n", `{"a":1,"b":[2]}`, true},
		"another value":                {`{"a":1}`, `{"a":2}`, false},
		"a part of a line":             {`{"at":"…","a":1}`, `{"at":"2026","a":1}`, true},
		"another after a part":         {`{"at":"…","a":1}`, `{"at":"2026","a":2}`, false},
		"lines between":                {"a\n…\nd\n", "a\nb\nc\nd\n", true},
		"no lines between":             {"a\n…\nd\n", "a\nd\n", true},
		"more before":                  {"b\n…\n", "a\nb\nc\n", false},
		"more behind":                  {"a\n", "a\nb\n", false},
		"the last twice":               {"a\n…\nd\n", "a\nd\nc\nd\n", true},
		"more behind the last":         {"a\n…\nd\n", "a\nd\nc\n", false},
		"another order":                {"…a…b…", "b a", false},
		"one text for two":             {"…ab…bc…", "abc", false},
		"the first reaches the last":   {"ab…ba", "aba", false},
		"other widths":                 {"╭───╮\n│ web-north │\n│ … │\n╰───╯\n", table, true},
		"another cell":                 {"╭───╮\n│ web-south │\n│ … │\n╰───╯\n", table, false},
		"three dots are three dots":    {"a...c", "abc", false},
		"several wildcards in a line":  {"… on \"a\"\n… rtt …\n", "10:00 on \"a\"\n10:00 rtt 5ms\n", true},
		"a line that is not there":     {"… on \"a\"\n… rtt …\n404\n", "10:00 on \"a\"\n10:00 rtt 5ms\n", false},
		"an expected line in between":  {"a\n…\nb\n…\nc\n", "a\n1\nb\n2\nc\n", true},
		"the expected line is missing": {"a\n…\nb\n…\nc\n", "a\n1\n2\nc\n", false},
	} {
		if err := Match(c.shown, c.output); (err == nil) != c.want {
			t.Errorf("%s: %v, want a match: %v", name, err, c.want)
		}
	}
}

func TestBegun(t *testing.T) {
	const shown = "… Subscribing\n[#1] Received …\n…\n[#…] Received web\n"
	for output, want := range map[string]bool{
		"":                  false,
		"10:00 Subscribing": false,
		"10:00 Subscribing\n[#1] Received lease\n":                    true,
		"10:00 Subscribing\n[#1] Received lease\n[#2] Received web\n": true,
	} {
		if got := Begun(shown, output); got != want {
			t.Errorf("%q has begun: %v, want %v", output, got, want)
		}
	}
	if Begun("…\nb\n", "") != true {
		t.Error("what begins with anything has begun at once")
	}
}
