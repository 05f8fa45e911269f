package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"harmony.dev/fleet"
)

// MaxRequestSize is the size of the largest request, in bytes, unless a [Config] says otherwise.
const MaxRequestSize = 1 << 20

// strictness says what becomes of fields that a request has and its type has not.
type strictness bool

const (
	lenient strictness = false // ignored: newer agents may ask older services
	strict  strictness = true  // refused: people mistype
)

// validator is a request that can tell whether it makes sense.
type validator interface{ Validate() error }

// decodeRequest reads one JSON document into v and validates it if it can be. Its errors are
// [fleet.Error]s that name what is wrong.
func decodeRequest(data []byte, v any, s strictness) error {
	if err := parseRequest(data, v, s); err != nil {
		return err
	}
	if r, ok := v.(validator); ok {
		if err := r.Validate(); err != nil {
			text := strings.TrimPrefix(err.Error(), fleet.ErrInvalid.Error()+": ")
			return fleet.Errorf(fleet.CodeInvalid, "RequestInvalid", "the request is not valid: %s", text)
		}
	}
	return nil
}

func parseRequest(data []byte, v any, s strictness) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if s == strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(v); err != nil {
		return invalidRequest(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fleet.Errorf(fleet.CodeInvalid, "RequestInvalid", "the request has text after its JSON document")
	}
	return nil
}

func invalidRequest(err error) *fleet.Error {
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fleet.Errorf(fleet.CodeInvalid, "UnknownField", "the request has an unknown field %s", field)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return fleet.Errorf(fleet.CodeInvalid, "RequestInvalid", "the request's field %q is a JSON %s, not a %s", e.Field, e.Value, e.Type.Kind())
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fleet.Errorf(fleet.CodeInvalid, "RequestInvalid", "the request is no JSON document: it ends too soon")
	}
	return fleet.Errorf(fleet.CodeInvalid, "RequestInvalid", "the request is no JSON document of this endpoint: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// encode returns the JSON text of a request or response, without HTML escaping.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
