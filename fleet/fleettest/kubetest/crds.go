package kubetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const pollInterval = 50 * time.Millisecond

// ApplyCRDs applies every CustomResourceDefinition in the *.yaml files of a directory and waits until
// lists of them are served: "Established" comes a little before that.
func (s *Server) ApplyCRDs(t testing.TB, dir string) {
	t.Helper()
	docs, err := readYAML(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	crds := s.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, doc := range docs {
		if _, err := crds.Apply(ctx, doc.GetName(), doc, metav1.ApplyOptions{FieldManager: "kubetest", Force: true}); err != nil {
			t.Fatalf("apply %s: %v", doc.GetName(), err)
		}
	}
	for _, doc := range docs {
		for _, gvr := range servedBy(doc) {
			if err := s.awaitList(ctx, gvr); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (s *Server) awaitList(ctx context.Context, gvr schema.GroupVersionResource) error {
	for {
		_, err := s.Dynamic.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not served: %w", gvr, err)
		case <-time.After(pollInterval):
		}
	}
}

// servedBy returns the resources that a definition serves, one for each version.
func servedBy(crd *unstructured.Unstructured) []schema.GroupVersionResource {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	var all []schema.GroupVersionResource
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if served, _ := version["served"].(bool); served {
			name, _ := version["name"].(string)
			all = append(all, schema.GroupVersionResource{Group: group, Version: name, Resource: plural})
		}
	}
	return all
}

// readYAML returns the documents of all *.yaml files in a directory; at least one.
func readYAML(dir string) ([]*unstructured.Unstructured, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var docs []*unstructured.Unstructured
	for _, file := range files {
		more, err := readDocuments(file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		docs = append(docs, more...)
	}
	if len(docs) == 0 {
		return nil, fmt.Errorf("no YAML documents in %s", dir)
	}
	return docs, nil
}

func readDocuments(file string) (docs []*unstructured.Unstructured, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for dec := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		var doc unstructured.Unstructured
		switch err := dec.Decode(&doc.Object); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, err
		case len(doc.Object) > 0:
			docs = append(docs, &doc)
		}
	}
}
