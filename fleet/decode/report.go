// Package decode reads device reports at the speed at which they arrive.
//
// A service that starts reads the last report of every pair, a million and more. encoding/json takes
// longer for each than the transport from the server. [Report] reads the plain form, which is what agents
// write, in one pass over the bytes:
//
//   - one object of the four known fields in any order, of duplicates the last counts, any white space
//   - strings of valid UTF-8 without escapes
//
// Everything else, whatever is wrong or unusual about it, goes to [fleet.DecodeReport], the reference:
// only that function refuses a value, and both accept by the same [fleet.Report.Validate]. What remains
// to be proven is that a plain document means the same to both. The tests do it with generated, mutated
// and random input.
package decode

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"harmony.dev/fleet"
)

// Report parses and validates the value of a device-state key. Result and error are those of
// [fleet.DecodeReport]. The strings of the result share one allocation and none of the input's memory.
func Report(b []byte) (fleet.Report, error) {
	if len(b) <= fleet.MaxReportSize {
		if p, ok := scan(b); ok {
			if r := p.report(); r.Validate() == nil {
				return r, nil
			}
		}
	}
	return fleet.DecodeReport(b)
}

// plain is a document in plain form: the texts of its fields, empty for one that is absent.
type plain struct {
	phase, hash, at, lastError []byte
}

// field returns the place for a field's text, or nil when the name is not known.
func (p *plain) field(name []byte) *[]byte {
	switch string(name) {
	case "phase":
		return &p.phase
	case "observedHash":
		return &p.hash
	case "lastEventAt":
		return &p.at
	case "lastError":
		return &p.lastError
	}
	return nil
}

// report copies the texts out of the input.
func (p *plain) report() fleet.Report {
	var text strings.Builder
	text.Grow(len(p.hash) + len(p.at) + len(p.lastError))
	text.Write(p.hash)
	text.Write(p.at)
	text.Write(p.lastError)
	s := text.String()
	at, lastError := len(p.hash), len(p.hash)+len(p.at)
	return fleet.Report{
		Phase:        phase(p.phase),
		ObservedHash: s[:at],
		LastEventAt:  s[at:lastError],
		LastError:    s[lastError:],
	}
}

// phase returns the constant, so that no report keeps a copy; other phases are invalid anyway.
func phase(text []byte) fleet.Phase {
	switch string(text) {
	case string(fleet.PhaseRunning):
		return fleet.PhaseRunning
	case string(fleet.PhasePending):
		return fleet.PhasePending
	case string(fleet.PhaseFailed):
		return fleet.PhaseFailed
	}
	return ""
}

// scan splits a document in plain form; ok is false for any other.
func scan(b []byte) (p plain, ok bool) {
	b = skipSpace(b)
	if len(b) == 0 || b[0] != '{' {
		return p, false
	}
	for separator := byte('{'); separator != '}'; {
		var name, value []byte
		if name, b, ok = quoted(skipSpace(b[1:])); !ok {
			return p, false
		}
		if b = skipSpace(b); len(b) == 0 || b[0] != ':' {
			return p, false
		}
		if value, b, ok = quoted(skipSpace(b[1:])); !ok {
			return p, false
		}
		field := p.field(name)
		if field == nil {
			return p, false
		}
		*field = value
		if b = skipSpace(b); len(b) == 0 || b[0] != ',' && b[0] != '}' {
			return p, false
		}
		separator = b[0]
	}
	return p, len(skipSpace(b[1:])) == 0
}

// quoted splits a string without escapes from the beginning of b.
func quoted(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 {
		return nil, nil, false
	}
	text, rest = b[1:1+end], b[2+end:]
	return text, rest, isPlain(text)
}

// isPlain reports whether the text stands for itself between quotes in JSON.
func isPlain(text []byte) bool {
	var all byte
	for _, c := range text {
		if c < ' ' || c == '\\' {
			return false
		}
		all |= c
	}
	return all < utf8.RuneSelf || utf8.Valid(text)
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}
