package rpc

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// Metadata keys of an endpoint.
const (
	MetadataDescription = "description"     // one sentence on what it is for; absent when there is none
	MetadataRole        = "role"            // fleet.Role
	MetadataRequest     = "request_schema"  // JSON Schema of the request
	MetadataResponse    = "response_schema" // JSON Schema of the response
)

const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

func endpointMetadata[Req, Resp any](ep fleet.Endpoint) (map[string]string, error) {
	request, err := schemaText(reflect.TypeFor[Req](), true)
	if err != nil {
		return nil, err
	}
	response, err := schemaText(reflect.TypeFor[Resp](), false)
	if err != nil {
		return nil, err
	}
	metadata := map[string]string{MetadataRole: string(ep.Role), MetadataRequest: request, MetadataResponse: response}
	if text := ep.Description(); text != "" {
		metadata[MetadataDescription] = text
	}
	return metadata, nil
}

func schemaText(t reflect.Type, strict bool) (string, error) {
	s := (&schemas{strict: strict}).of(t)
	s["$schema"] = schemaDialect
	b, err := encode(s)
	return string(b), err
}

type schema map[string]any

// schemas derives JSON Schemas (draft 2020-12) from Go types, as encoding/json reads and writes them.
// Strict ones refuse unknown fields. A type inside itself becomes "anything".
type schemas struct {
	strict bool
	within []reflect.Type
}

func (g *schemas) of(t reflect.Type) schema {
	switch {
	case t.Kind() == reflect.Pointer:
		return g.of(t.Elem())
	case t == reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[time.Duration]():
		return schema{"type": "integer", "description": "nanoseconds"}
	case implements[json.Marshaler](t):
		return schema{}
	case implements[encoding.TextMarshaler](t):
		return schema{"type": "string"}
	}
	return g.ofKind(t)
}

func (g *schemas) ofKind(t reflect.Type) schema {
	switch t.Kind() {
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return schema{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return schema{"type": "string", "contentEncoding": "base64"}
		}
		return schema{"type": "array", "items": g.of(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": g.of(t.Elem())}
	case reflect.Struct:
		return g.ofStruct(t)
	default:
		return schema{}
	}
}

func (g *schemas) ofStruct(t reflect.Type) schema {
	if slices.Contains(g.within, t) {
		return schema{}
	}
	g.within = append(g.within, t)
	defer func() { g.within = g.within[:len(g.within)-1] }()
	properties, required := schema{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, optional, ok := fieldName(f)
		if !ok {
			continue
		}
		properties[name] = g.of(f.Type)
		if !optional && !slices.Contains(required, name) {
			required = append(required, name)
		}
	}
	s := schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if g.strict {
		s["additionalProperties"] = false
	}
	return s
}

// fieldName returns a field's name in JSON and whether it may be absent; ok is false for a field that
// JSON does not show. Fields of embedded structs are shown in place of the struct.
func fieldName(f reflect.StructField) (name string, optional, ok bool) {
	tag := f.Tag.Get("json")
	name, options, _ := strings.Cut(tag, ",")
	if tag == "-" || !f.IsExported() || f.Anonymous && name == "" {
		return "", false, false
	}
	if name == "" {
		name = f.Name
	}
	parts := strings.Split(options, ",")
	return name, slices.Contains(parts, "omitempty") || slices.Contains(parts, "omitzero"), true
}

func implements[I any](t reflect.Type) bool {
	i := reflect.TypeFor[I]()
	return t.Implements(i) || reflect.PointerTo(t).Implements(i)
}
