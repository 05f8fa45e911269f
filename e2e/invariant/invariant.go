// Package invariant judges recordings. A checker is a pure function from a recording to what in it must
// never happen; package lab runs all of them over every scenario.
package invariant

import (
	"fmt"
	"strings"

	"harmony.dev/e2e/record"
)

// Checker finds violations of one invariant.
type Checker struct {
	Name  string // "fence"
	About string // what always holds
	Check func(record.Recording) []Violation
}

// Violation is one thing that must not have happened.
type Violation struct {
	Invariant string
	Event     int // index in the recording of what shows it; -1 when no single event does
	Message   string
}

func (v Violation) String() string {
	return fmt.Sprintf("invariant %s: event %d: %s", v.Invariant, v.Event, v.Message)
}

// All are the checkers, in the order in which their violations are reported.
func All() []Checker { return nil }

// Judge runs every checker over a recording.
func Judge(r record.Recording) []Violation {
	var all []Violation
	for _, c := range All() {
		for _, v := range c.Check(r) {
			v.Invariant = c.Name
			all = append(all, v)
		}
	}
	return all
}

// Text is at most so many violations, one a line.
func Text(all []Violation, limit int) string {
	var b strings.Builder
	for i, v := range all {
		if i == limit {
			fmt.Fprintf(&b, "and %d more\n", len(all)-limit)
			break
		}
		fmt.Fprintln(&b, v)
	}
	return b.String()
}

// Sometimes counts how often a recording reached each fault path.
func Sometimes(record.Recording) map[string]int { return nil }
