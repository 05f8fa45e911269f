package fleet

import (
	"encoding/json"
	"fmt"
)

// MaxScoreSize is the size of the largest score, in bytes of its canonical JSON.
const MaxScoreSize = 64 << 10

// Score is what a device is to run: a tag that says which runtime understands the data, and the data.
// The operator validates the tag and carries the data unread.
type Score struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Validate checks the tag (letters, digits, '-', '.' and '/', 1 to 63 bytes, a letter first), that the
// data is one JSON document nested at most [MaxDataDepth] deep, and the size.
func (s Score) Validate() error {
	_, err := s.Canonical()
	return err
}

// Canonical returns the canonical bytes of the score: {"data":…,"type":"container"}, without "data"
// when there is none. Data that is JSON null is data.
func (s Score) Canonical() ([]byte, error) {
	if err := validateScoreType(s.Type); err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(s.Data)+len(s.Type)+len(`{"data":,"type":""}`))
	b = append(b, '{')
	if len(s.Data) > 0 {
		data, err := canonical(s.Data, MaxDataDepth)
		if err != nil {
			return nil, fmt.Errorf("score data: %w", err)
		}
		b = append(b, `"data":`...)
		b = append(b, data...)
		b = append(b, ',')
	}
	b = append(b, `"type":`...)
	b = appendString(b, s.Type)
	b = append(b, '}')
	if len(b) > MaxScoreSize {
		return nil, fmt.Errorf("%w: score is %d bytes, at most %d are allowed: refer to large data instead of carrying it", ErrInvalid, len(b), MaxScoreSize)
	}
	return b, nil
}

func validateScoreType(t string) error {
	if t == "" {
		return fmt.Errorf("%w: score type is empty", ErrInvalid)
	}
	if len(t) > MaxNameLength {
		return fmt.Errorf("%w: score type is %d bytes long, at most %d are allowed", ErrInvalid, len(t), MaxNameLength)
	}
	for i := range len(t) {
		c := t[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		other := c >= '0' && c <= '9' || c == '-' || c == '.' || c == '/'
		if !letter && (i == 0 || !other) {
			return fmt.Errorf("%w: score type %q has other characters than letters, digits, '-', '.' and '/', or does not begin with a letter", ErrInvalid, t)
		}
	}
	return nil
}
