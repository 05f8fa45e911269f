// Package invariant judges recordings. A checker is a pure function from a recording to what in it must
// never happen; package lab runs all of them over every scenario.
//
// A false alarm is as bad as a miss. What a recording does not say is never held against the product:
//
//   - Operations on one stream are in its order, and so are writes to one resource. Between two sources only
//     times order things, and within the slack that delivery takes nothing is concluded.
//   - A message may be overwritten before the recorder reads it. Where the rule depends on what may have stood
//     in such a gap, it is taken to have stood there. The last message of each key is always seen.
//   - Sequences are compared within one incarnation of a stream. A bucket that was deleted, emptied or restored,
//     or of which a fault says that it loses something, begins anew; what was derived from it before stays elsewhere.
//   - What the recorder learned from a list and not from a watch may have been so for a while.
//
// That the order of messages does not matter has no checker: a recording knows one order only. It is a property of the
// aggregator's package projection, and tested there.
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

// rule is a checker of a prepared recording.
type rule struct {
	name, about string
	check       func(*history) []Violation
}

// rules are the checkers, in the order in which their violations are reported.
func rules() []rule {
	return []rule{
		{"fence", "no write to a fenced bucket is accepted under another epoch than the newest", fence},
		{"no-flap", "while a wish is constant it is written at most once, and never deleted and put back", noFlap},
		{"no-early-delete", "a desired key is deleted only while a patcher vouches for the mirror, and for a cause that holds", noEarlyDelete},
		{"garbage", "a key of a device is deleted only when the device leaves, or the key has belonged to nothing for long", garbage},
		{"brake", "no more keys than the brake lets pass are deleted for doubtful causes, unless somebody approved it", brake},
		{"no-op", "while nobody changes an input nothing is written", noOp},
		{"scope", "at rest the desired keys are those of the pairs in scope, with canonical values", scope},
		{"truth-of-status", "at rest the counts of a status are the fold of desired keys and reports", truthOfStatus},
		{"poison-isolation", "at rest beside malformed entries every other pair is counted as if they were not there", poisonIsolation},
		{"no-false-running", "no status ever counts more devices as running than have said so of what they are to run then", noFalseRunning},
		{"silence-means-stale", "a status counts as stale those devices that have been silent for so long, and no others", silenceMeansStale},
		{"observed-generation", "observedGeneration never decreases and never exceeds the generation", observedGeneration},
		{"ready-means-applied", "a status says Ready only of a generation that is in desired-state", readyMeansApplied},
		{"status-adds-up", "the counts of every status add up, and Ready says what they say", statusAddsUp},
		{"fail-visibly", "no process ends by itself, and one that is not well says why", failVisibly},
		{"bounded-cost", "the consumers of a stream are bounded by the instances that read it", boundedCost},
		{"audit", "every acknowledged put is in its stream or superseded", audit},
		{"quiescence", "from rest on nothing is written until something happens", quiescence},
		{"complete-snapshot", "at rest whoever is in step with a bucket has every key of it in view, and no other", completeSnapshot},
	}
}

// All are the checkers, in the order in which their violations are reported.
func All() []Checker {
	var all []Checker
	for _, r := range rules() {
		all = append(all, Checker{r.name, r.about, func(rec record.Recording) []Violation {
			return r.judge(newHistory(rec))
		}})
	}
	return all
}

// Judge runs every checker over a recording.
func Judge(r record.Recording) []Violation {
	var all []Violation
	h := newHistory(r)
	for _, rule := range rules() {
		all = append(all, rule.judge(h)...)
	}
	return all
}

func (r rule) judge(h *history) []Violation {
	found := r.check(h)
	for i := range found {
		found[i].Invariant = r.name
	}
	return found
}

func text(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func violation(event int, format string, args ...any) Violation {
	return Violation{Event: event, Message: fmt.Sprintf(format, args...)}
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
