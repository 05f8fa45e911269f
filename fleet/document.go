package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Nesting of objects and arrays in the documents of the contract.
const (
	// MaxDepth is how deep any document may be.
	MaxDepth = 64
	// MaxDataDepth is how deep the data of a score may be: it leaves room for the documents that
	// carry a score.
	MaxDataDepth = MaxDepth - 4
)

// anyDepth leaves the depth to encoding/json, which stops at 10,000 levels and does not recurse over
// raw parts.
const anyDepth = 1 << 30

// MaxUIDSize is the size of the longest uid that the contract carries, in bytes. Kubernetes uses 36.
const MaxUIDSize = 128

// decode parses one JSON object of at most limit bytes into v, as encoding/json understands it: unknown
// fields are ignored, so that newer writers can be read; names match in any case; of duplicate fields
// the last counts, and duplicate maps are merged.
func decode(doc []byte, limit int, v any) error { return decodeDeep(doc, limit, MaxDepth, v) }

func decodeDeep(doc []byte, limit, maxDepth int, v any) error {
	if len(doc) == 0 {
		return fmt.Errorf("%w: empty value", ErrInvalid)
	}
	if len(doc) > limit {
		return fmt.Errorf("%w: value is %d bytes, at most %d are allowed", ErrInvalid, len(doc), limit)
	}
	if err := checkText(doc, maxDepth); err != nil {
		return err
	}
	// null would decode as an empty value: a device without labels, a Deployment without a selector.
	if text := bytes.TrimLeft(doc, " \t\r\n"); len(text) == 0 || text[0] != '{' {
		return fmt.Errorf("%w: value is no JSON object", ErrInvalid)
	}
	if err := json.Unmarshal(doc, v); err != nil {
		return fmt.Errorf("%w: parse JSON: %w", ErrInvalid, err)
	}
	return nil
}

// marshal encodes as encoding/json does, but without HTML escaping and without the newline that
// json.Encoder adds.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// validateUID keeps what is copied into keys' values small and printable.
func validateUID(of, uid string) error {
	if uid == "" {
		return fmt.Errorf("%w: %s without a uid", ErrInvalid, of)
	}
	if len(uid) > MaxUIDSize {
		return fmt.Errorf("%w: %s with a uid of %d bytes, at most %d are allowed", ErrInvalid, of, len(uid), MaxUIDSize)
	}
	for i := range len(uid) {
		if c := uid[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("%w: %s with a uid %q that is not printable ASCII", ErrInvalid, of, uid)
		}
	}
	return nil
}
