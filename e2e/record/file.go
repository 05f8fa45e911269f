package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Save writes a recording as lines of JSON, one event each.
func Save(path string, r Recording) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("save a recording: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for _, e := range r {
		if err := enc.Encode(e); err != nil {
			return fmt.Errorf("save a recording: %w", err)
		}
	}
	return w.Flush()
}

// Load reads what [Save] wrote.
func Load(path string) (Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load a recording: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var r Recording
	for dec := json.NewDecoder(bufio.NewReader(f)); ; {
		var e Event
		switch err := dec.Decode(&e); {
		case errors.Is(err, io.EOF):
			return r, nil
		case err != nil:
			return nil, fmt.Errorf("load %s, event %d: %w", path, len(r)+1, err)
		}
		r = append(r, e)
	}
}
