package wish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// part is the text of one document. Its lines are those of the file: it begins with as many empty ones as are before it.
type part struct {
	line int // of its first character
	text []byte
	json bool
}

// split takes a file apart as kubectl does: JSON documents after each other when it begins with one, else YAML documents
// between lines of "---".
func split(text []byte) ([]part, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return splitJSON(text)
	}
	var parts []part
	var current []byte
	begin, n := 1, 0
	flush := func() {
		if blank := bytes.TrimLeft(current, " \t\r\n"); len(blank) > 0 {
			parts = append(parts, part{line: begin, text: append(bytes.Repeat([]byte("\n"), begin-1), current...)})
		}
		current = nil
	}
	for line := range bytes.Lines(text) {
		n++
		if rest, ok := bytes.CutPrefix(line, []byte("---")); ok && len(bytes.TrimSpace(rest)) == 0 {
			flush()
			begin = n + 1
			continue
		}
		current = append(current, line...)
	}
	flush()
	return parts, nil
}

func splitJSON(text []byte) ([]part, error) {
	var parts []part
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			at := dec.InputOffset()
			if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
				at = syntax.Offset
			}
			return nil, fmt.Errorf("line %d: %w", lineAt(text, at), err)
		}
		begin := lineAt(text, dec.InputOffset()-int64(len(raw)))
		parts = append(parts, part{line: begin, text: append(bytes.Repeat([]byte("\n"), begin-1), raw...), json: true})
	}
}

// lineAt is the line of an offset, from 1.
func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int64(len(text)), max(0, offset))], []byte("\n"))
}
