package introspection

import (
	"fmt"
	"strings"
	"unicode"
)

// anything stands for any text in what a document shows.
const anything = "…"

// Check returns nil when the command of an example ended as it has to and printed what is shown, else an error that has
// all that it printed.
func (e Example) Check(output string, err error) error {
	if err == nil {
		err = Match(e.Shown, output)
	}
	if err != nil {
		return fmt.Errorf("line %d: $ %s\n%s%w", e.Line, e.Command, output, err)
	}
	return nil
}

// Match returns nil when an output is what is shown of it, else an error that says what is missing in it.
func Match(shown, output string) error {
	parts, rest := strings.Split(shown, anything), bare(output)
	for i, part := range parts {
		at := strings.Index(rest, bare(part))
		if i == len(parts)-1 && i > 0 {
			at = strings.LastIndex(rest, bare(part)) // it ends the output
		}
		if at < 0 || i == 0 && at > 0 {
			return fmt.Errorf("it prints no %q where that is shown", strings.TrimSpace(part))
		}
		rest = rest[at+len(bare(part)):]
	}
	if rest != "" {
		return fmt.Errorf("it prints more than is shown")
	}
	return nil
}

// Begun reports whether an output has the first lines that are shown: those before the first that is "…".
func Begun(shown, output string) bool {
	first, _, _ := strings.Cut("\n"+shown, "\n"+anything+"\n")
	return Match(first+anything, output) == nil
}

// bare is a text without what depends on the width of a terminal or a column.
func bare(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '─' {
			return -1
		}
		return r
	}, text)
}
