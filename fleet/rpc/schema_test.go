package rpc

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

type inner struct {
	Epoch uint64 `json:"epoch"`
}

type tree struct {
	Children []tree `json:"children,omitempty"`
}

type everything struct {
	inner
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	At     *time.Time        `json:"at,omitempty"`
	Value  []byte            `json:"value"`
	Data   json.RawMessage   `json:"data,omitempty"`
	Ratio  float64           `json:"ratio"`
	On     bool              `json:"on"`
	Tree   tree              `json:"tree"`
	Hidden string            `json:"-"`
	Plain  int
}

func TestSchemaText(t *testing.T) {
	got, err := schemaText(reflect.TypeFor[everything](), true)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,` +
		`"properties":{"Plain":{"type":"integer"},"at":{"format":"date-time","type":"string"},"data":{},` +
		`"epoch":{"minimum":0,"type":"integer"},"labels":{"additionalProperties":{"type":"string"},"type":"object"},` +
		`"name":{"type":"string"},"on":{"type":"boolean"},"ratio":{"type":"number"},` +
		`"tree":{"additionalProperties":false,"properties":{"children":{"items":{},"type":"array"}},"type":"object"},` +
		`"value":{"contentEncoding":"base64","type":"string"}},` +
		`"required":["epoch","name","value","ratio","on","tree","Plain"],"type":"object"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSemanticVersion(t *testing.T) {
	for in, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3-rc.1+abc": "1.2.3-rc.1+abc", "devel": "0.0.0-devel", "": "0.0.0-devel", "1.2": "0.0.0-devel+1.2", "fe69351-dirty": "0.0.0-devel+fe69351-dirty", "a b": "0.0.0-devel+a-b",
	} {
		if got := semanticVersion(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
