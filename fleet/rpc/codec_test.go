package rpc

import (
	"errors"
	"fmt"
	"testing"

	"harmony.dev/fleet"
)

// picky is a request with a rule.
type picky struct {
	Name string `json:"name"`
}

// Validate wants a name.
func (p picky) Validate() error {
	if p.Name == "" {
		return fmt.Errorf("%w: no name", fleet.ErrInvalid)
	}
	return nil
}

func TestDecodeRequest_ValidatesAndIsStrictOnlyForPeople(t *testing.T) {
	for _, c := range []struct {
		doc  string
		s    strictness
		want string
	}{
		{`{"name":"a"}`, strict, ""},
		{`{"name":"a","new":1}`, lenient, ""},
		{`{"name":"a","new":1}`, strict, "UnknownField"},
		{`{}`, strict, "RequestInvalid"},
		{``, lenient, "RequestInvalid"},
		{`{"name":1}`, lenient, "RequestInvalid"},
	} {
		err := decodeRequest([]byte(c.doc), &picky{}, c.s)
		reason := ""
		if e, ok := errors.AsType[*fleet.Error](err); ok {
			reason = e.Reason
		}
		if reason != c.want || (err == nil) != (c.want == "") {
			t.Errorf("decodeRequest(%s, strict=%v) = %v, want %q", c.doc, c.s, err, c.want)
		}
	}
}
