package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// Canonical rewrites a JSON document into its canonical bytes:
//
//   - object keys sorted by their bytes; of duplicate keys the last counts
//   - no white space
//   - numbers as written: 1.0, 1e400 and -0 stay what they are
//   - strings as RFC 8785 section 3.2.2.2 has them: \" \\ \b \f \n \r \t, \u00xx for other control
//     characters, everything else as itself in UTF-8
//
// The bytes are frozen by golden files, because a change would redeploy every fleet. That is why
// they are written here and not by encoding/json, whose escapes differ between Go releases. Text that
// is not UTF-8, half a surrogate pair (it has no UTF-8 form), nesting beyond [MaxDepth] and anything
// after the document wrap [ErrInvalid].
func Canonical(doc []byte) ([]byte, error) { return canonical(doc, MaxDepth) }

// Hash returns the hex SHA-256 of exactly these bytes: what a report calls observedHash.
func Hash(value []byte) string {
	sum := sha256.Sum256(value)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

func canonical(doc []byte, maxDepth int) ([]byte, error) {
	if err := checkText(doc, maxDepth); err != nil {
		return nil, err
	}
	if err := checkSurrogates(doc); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: parse JSON: %w", ErrInvalid, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one JSON document", ErrInvalid)
	}
	return appendValue(make([]byte, 0, len(doc)), v), nil
}

// appendValue writes what json.Decoder makes of a document with UseNumber: null, a bool, a number, a string,
// an array or else an object.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		if v {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case json.Number:
		return append(dst, v...)
	case string:
		return appendString(dst, v)
	case []any:
		dst = append(dst, '[')
		for i, element := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, element)
		}
		return append(dst, ']')
	}
	object, _ := v.(map[string]any)
	return appendObject(dst, object)
}

func appendObject(dst []byte, object map[string]any) []byte {
	dst = append(dst, '{')
	for i, key := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, key)
		dst = append(dst, ':')
		dst = appendValue(dst, object[key])
	}
	return append(dst, '}')
}

func appendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, `\b`...)
		case c == '\f':
			dst = append(dst, `\f`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(dst, '"')
}

// checkSurrogates refuses an escape that is half of a surrogate pair. encoding/json replaces it with
// U+FFFD: two different documents would get the same canonical bytes, and neither its own.
func checkSurrogates(doc []byte) error {
	for i := 0; i < len(doc); i++ {
		if doc[i] != '\\' {
			continue
		}
		unit, ok := escapedUnit(doc[i:])
		if !ok {
			i++ // a backslash stands only in strings: skip what it escapes
			continue
		}
		i += 5
		if unit < 0xd800 || unit > 0xdfff {
			continue
		}
		low, ok := escapedUnit(doc[i+1:])
		if unit > 0xdbff || !ok || low < 0xdc00 || low > 0xdfff {
			return fmt.Errorf("%w: escape \\u%04x is half of a surrogate pair", ErrInvalid, unit)
		}
		i += 6
	}
	return nil
}

// escapedUnit reads a UTF-16 code unit from the escape \uXXXX at the beginning of b.
func escapedUnit(b []byte) (unit uint16, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var raw [2]byte
	if _, err := hex.Decode(raw[:], b[2:6]); err != nil {
		return 0, false
	}
	return uint16(raw[0])<<8 | uint16(raw[1]), true
}

// checkText refuses what a decoder should not even start on: text that is not UTF-8, or nesting
// beyond maxDepth.
func checkText(doc []byte, maxDepth int) error {
	if !utf8.Valid(doc) {
		return fmt.Errorf("%w: not UTF-8", ErrInvalid)
	}
	depth, inString := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("%w: nested deeper than %d levels", ErrInvalid, maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}
