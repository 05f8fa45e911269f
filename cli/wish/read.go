package wish

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"harmony.dev/fleet"
)

// Read returns the documents of a file, those of a List one by one. The error is that of a text which cannot be taken
// apart at all; what is wrong with one document is in it.
func Read(file string, text []byte) ([]Document, error) {
	parts, err := split(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var docs []Document
	for _, p := range parts {
		more, err := p.read(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		docs = append(docs, more...)
	}
	return docs, nil
}

func (p part) read(file string) ([]Document, error) {
	doc := p.text
	if !p.json {
		var err error
		if doc, err = yaml.YAMLToJSONStrict(p.text); err != nil {
			return nil, yamlError(err)
		}
	}
	if string(doc) == "null" { // nothing but comments
		return nil, nil
	}
	lines := linesOf(p)
	return read(file, doc, lines)
}

// head is what every resource has.
type head struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

func read(file string, doc []byte, at *lines) ([]Document, error) {
	var h head
	if err := strictjson.UnmarshalCaseSensitivePreserveInts(doc, &h); err != nil {
		return nil, fmt.Errorf("line %d: no resource: %w", at.first, told(err))
	}
	if h.APIVersion == "v1" && h.Kind == "List" {
		var docs []Document
		for i, item := range h.Items {
			more, err := read(file, item, at.item(i))
			if err != nil {
				return nil, err
			}
			docs = append(docs, more...)
		}
		return docs, nil
	}
	d := Document{File: file, Line: at.first, APIVersion: h.APIVersion, Kind: h.Kind, Namespace: h.Metadata.Namespace, Name: h.Metadata.Name}
	switch group, _, _ := strings.Cut(h.APIVersion, "/"); {
	case h.APIVersion == "" || h.Kind == "":
		d.Err = fmt.Errorf("it says no apiVersion or no kind: a Deployment of the fleet says apiVersion: %s and kind: %s", APIVersion, fleet.KindDeployment)
	case group == fleet.Group && h.APIVersion != APIVersion:
		d.Err = fmt.Errorf("apiVersion %q is not known: it is %s", h.APIVersion, APIVersion)
	case h.APIVersion == APIVersion && h.Kind == fleet.KindDeployment:
		d.Candidate, d.Err = candidate(doc, at)
	case h.APIVersion == APIVersion && h.Kind != fleet.KindDevice:
		d.Err = fmt.Errorf("kind %q is not known: %s has %s and %s", h.Kind, APIVersion, fleet.KindDeployment, fleet.KindDevice)
	}
	return []Document{d}, nil
}

// told says what a type error is about in the words of a file.
func told(err error) error {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	want := map[string]string{"string": "a text: write it in quotes", "int64": "a number", "[]json.RawMessage": "a list"}[e.Type.String()]
	if want == "" {
		want = "of another form"
	}
	if e.Field == "" {
		return fmt.Errorf("it is %s, and a resource has fields", articled(e.Value))
	}
	return fmt.Errorf("%s is %s, and must be %s", e.Field, articled(e.Value), want)
}

// articled is "an array", "a number".
func articled(noun string) string {
	if strings.IndexAny(noun, "aeiou") == 0 {
		return "an " + noun
	}
	return "a " + noun
}

// yamlError is what is wrong with YAML, without the words of the layers.
func yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	text = strings.TrimPrefix(text, "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors:\n  ")
	return errors.New(strings.ReplaceAll(text, "\n  ", "; "))
}
