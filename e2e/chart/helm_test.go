package chart

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"harmony.dev/e2e/lab"
)

// file is a file of the repository.
func file(t testing.TB, path ...string) string {
	return filepath.Join(append([]string{lab.Root(t)}, path...)...)
}

func chartDir(t testing.TB) string { return file(t, "deploy", "chart") }

// allOn is the file of values that differ from all defaults.
func allOn(t testing.TB) string { return file(t, "deploy", "chart", "ci", "all-on.yaml") }

// helm runs the public command with a home of its own, and returns what it printed on either output.
func helm(t testing.TB, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(lab.BinDir(t), "helm"), args...)
	home := t.TempDir()
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + filepath.Join(home, "none")}
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	if errors.Is(err, os.ErrNotExist) {
		t.Fatalf("helm is missing: 'make peers' builds it: %v", err)
	}
	return out.String(), problems.String(), err
}

// release is what an installation is called, and the namespace that it is for.
type release struct{ name, namespace string }

// render returns what an installation of the chart creates, hooks included.
func (r release) render(t testing.TB, options ...string) objects {
	t.Helper()
	args := append([]string{"template", r.name, chartDir(t), "--namespace", r.namespace}, options...)
	out, problems, err := helm(t, args...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, problems)
	}
	return parse(t, out)
}

// objects are what is to be created.
type objects []*unstructured.Unstructured

func parse(t testing.TB, text string) objects {
	t.Helper()
	var all objects
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("read what was rendered: %v", err)
		}
		if u := parseOne(t, doc); u != nil {
			all = append(all, u)
		}
	}
}

// parseOne returns nil for a document of comments.
func parseOne(t testing.TB, doc []byte) *unstructured.Unstructured {
	t.Helper()
	text, err := yaml.YAMLToJSONStrict(doc) // a key that is there twice is a mistake
	if err != nil {
		t.Fatalf("what was rendered is no YAML: %v\n%s", err, doc)
	}
	if string(text) == "null" {
		return nil
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(text); err != nil {
		t.Fatalf("what was rendered is no object: %v\n%s", err, doc)
	}
	return u
}

// hookAnnotation is on what exists only while Helm does something.
const hookAnnotation = "helm.sh/hook"

func isHook(u *unstructured.Unstructured) bool { return u.GetAnnotations()[hookAnnotation] != "" }

// where returns those that fit.
func (o objects) where(fits func(*unstructured.Unstructured) bool) objects {
	return slices.DeleteFunc(slices.Clone(o), func(u *unstructured.Unstructured) bool { return !fits(u) })
}

// kind returns those of some kinds.
func (o objects) kind(kinds ...string) objects {
	return o.where(func(u *unstructured.Unstructured) bool { return slices.Contains(kinds, u.GetKind()) })
}

// of returns those of a component: patcher, reconciler, aggregator, uninstall.
func (o objects) of(component string) objects {
	return o.where(func(u *unstructured.Unstructured) bool {
		return u.GetLabels()["app.kubernetes.io/component"] == component
	})
}

// one returns the only one.
func (o objects) one(t testing.TB) *unstructured.Unstructured {
	t.Helper()
	if len(o) != 1 {
		t.Fatalf("%d objects, want one", len(o))
	}
	return o[0]
}

func label(u *unstructured.Unstructured) string {
	return u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
}

// services are the components that run all the time.
var services = []string{"patcher", "reconciler", "aggregator"}
