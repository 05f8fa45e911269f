package fleet

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxTimeSize is the size of the longest time that a device may write, in bytes.
const MaxTimeSize = 64

// ParseTime reads a time that a device wrote: strict RFC 3339, in the years 0 to 9999 of UTC. The
// result is in UTC and can always be encoded again. time.Parse alone is not enough: it accepts offsets
// such as +24:00, with which one device could make the status of a Deployment impossible to encode.
func ParseTime(s string) (time.Time, error) {
	if len(s) > MaxTimeSize {
		return time.Time{}, fmt.Errorf("%w: a time of %d bytes, at most %d are allowed", ErrInvalid, len(s), MaxTimeSize)
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || !isStrict(s) {
		return time.Time{}, fmt.Errorf("%w: %.40q is not an RFC 3339 time such as 2006-01-02T15:04:05Z", ErrInvalid, s)
	}
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return time.Time{}, fmt.Errorf("%w: %.40q is not in the years 0 to 9999 of UTC", ErrInvalid, s)
	}
	return t, nil
}

// isStrict reports whether a text that time.Parse accepted is RFC 3339: the hour has two digits, the
// fraction begins with '.', the offset is less than a day (golang.org/issue/54580).
func isStrict(s string) bool {
	const seconds = len("2006-01-02T15:04:05")
	if s[seconds-len(":04:05")] != ':' || s[seconds] == ',' {
		return false
	}
	if s[len(s)-1] == 'Z' {
		return true
	}
	offset := s[len(s)-len("07:00"):]
	return offset[:2] < "24" && offset[3:] < "60"
}

// ClipError cuts the text of an error to what is kept and shown of it: at most [MaxErrorSize] bytes of
// valid UTF-8, cut between characters.
func ClipError(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= MaxErrorSize {
		return s
	}
	end := MaxErrorSize
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// InvalidText returns what an error that wraps [ErrInvalid] says is wrong, for people: without the word that
// each layer puts in front, cut by [ClipError].
func InvalidText(err error) string {
	return ClipError(strings.ReplaceAll(err.Error(), ErrInvalid.Error()+": ", ""))
}
