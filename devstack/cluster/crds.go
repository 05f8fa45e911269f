package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// ErrNoDefinitions says that a directory has no custom resource definitions.
var ErrNoDefinitions = errors.New("no custom resource definitions")

// ReadCRDs reads the custom resource definitions in the *.yaml files of a directory. It returns [ErrNoDefinitions] when
// there is none, and an error when something else is among them.
func ReadCRDs(dir string) ([]*unstructured.Unstructured, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var crds []*unstructured.Unstructured
	for _, file := range files {
		docs, err := readYAML(file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		crds = append(crds, docs...)
	}
	if len(crds) == 0 {
		return nil, fmt.Errorf("%w in %s", ErrNoDefinitions, dir)
	}
	return crds, nil
}

func readYAML(file string) (docs []*unstructured.Unstructured, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for dec := utilyaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		var doc unstructured.Unstructured
		switch err := dec.Decode(&doc.Object); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, err
		case len(doc.Object) == 0:
		case doc.GetKind() != "CustomResourceDefinition" || doc.GroupVersionKind().Group != crdResource.Group:
			return nil, fmt.Errorf("it has a %s, which is no custom resource definition", doc.GroupVersionKind())
		default:
			docs = append(docs, &doc)
		}
	}
}

// ApplyCRDs applies definitions by server-side apply, and waits until each is established and what it defines is served.
// Applying again changes nothing. It needs patch and get on customresourcedefinitions and list on what they define.
func ApplyCRDs(ctx context.Context, client Client, manager string, crds []*unstructured.Unstructured) error {
	for _, crd := range crds {
		opts := metav1.ApplyOptions{FieldManager: manager, Force: true}
		if _, err := client.Resource(crdResource).Apply(ctx, crd.GetName(), crd, opts); err != nil {
			return fmt.Errorf("apply %s: %w", crd.GetName(), err)
		}
	}
	for _, crd := range crds {
		if err := awaitServed(ctx, client, crd); err != nil {
			return err
		}
	}
	return nil
}

// awaitServed waits until a definition is established and its resources can be listed: the one comes a moment before the
// other.
func awaitServed(ctx context.Context, client Client, crd *unstructured.Unstructured) error {
	if err := poll(ctx, func() error {
		now, err := client.Resource(crdResource).Get(ctx, crd.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		return established(now)
	}); err != nil {
		return fmt.Errorf("wait until %s is established: %w", crd.GetName(), err)
	}
	for _, resource := range served(crd) {
		if err := poll(ctx, func() error {
			_, err := client.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
			if apierrors.IsForbidden(err) {
				return nil // it is served, and not to us
			}
			return err
		}); err != nil {
			return fmt.Errorf("wait until %s is served: %w", resource.GroupResource(), err)
		}
	}
	return nil
}

// established returns why a definition is not established, nil when it is.
func established(crd *unstructured.Unstructured) error {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	why := errors.New("the API server has not said anything of it yet")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		kind, status := condition["type"], condition["status"]
		switch {
		case kind == "Established" && status == "True":
			return nil
		case kind == "NamesAccepted" && status == "False":
			return fmt.Errorf("its names are not accepted: %v", condition["message"])
		}
	}
	return why
}

// served returns what a definition serves.
func served(crd *unstructured.Unstructured) []schema.GroupVersionResource {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	var all []schema.GroupVersionResource
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if on, _ := version["served"].(bool); on {
			name, _ := version["name"].(string)
			all = append(all, schema.GroupVersionResource{Group: group, Version: name, Resource: plural})
		}
	}
	return all
}

// poll calls f until it returns nil or ctx ends, and then returns what it returned last.
func poll(ctx context.Context, f func() error) error {
	var last error
	for {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil { // else it says only that time is up
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Unready reports whether an error may go away by itself: an API server that is starting, or that cannot be reached yet.
func Unready(err error) bool {
	switch {
	case err == nil, apierrors.IsUnauthorized(err), apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err),
		apierrors.IsMethodNotSupported(err), apierrors.IsNotAcceptable(err), apierrors.IsUnsupportedMediaType(err):
		return false
	}
	return true
}
