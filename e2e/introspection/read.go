package introspection

import (
	"os"
	"path/filepath"
	"testing"

	"harmony.dev/e2e/lab"
)

// Read returns docs/introspection.md and its examples.
func Read(t testing.TB) (doc string, examples []Example) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.Root(t), "docs", "introspection.md"))
	if err != nil {
		t.Fatal(err)
	}
	if examples, err = Parse(string(text)); err != nil {
		t.Fatalf("docs/introspection.md: %v", err)
	}
	return string(text), examples
}
