package compose

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"harmony.dev/e2e/lab"
)

// What a user builds by deploy/Dockerfile, from what .dockerignore lets into the context and in another place, are the
// same binaries that scripts/images has built here.
func TestImages_AreBuiltFromTheContextAndReproducible(t *testing.T) {
	root := lab.Root(t)
	context, out := t.TempDir(), t.TempDir()
	copyContext(t, root, context)
	built := filepath.Join(root, "bin", "images", "bin")
	version, err := exec.CommandContext(t.Context(), filepath.Join(built, "fleet"), "version", "-o", "json").Output()
	if err != nil {
		t.Fatalf("ask what scripts/images has built: %v", err)
	}
	_, after, _ := strings.Cut(string(version), `"version": "`)
	name, _, _ := strings.Cut(after, `"`)
	cmd := exec.CommandContext(t.Context(), filepath.Join(context, "scripts", "image-files"), out, name)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build from the context: %v\n%s", err, said)
	}
	binaries, err := filepath.Glob(filepath.Join(built, "*"))
	if err != nil || len(binaries) != 5 {
		t.Fatalf("binaries: %v, %v", binaries, err)
	}
	for _, b := range binaries {
		again := filepath.Join(out, "bin", filepath.Base(b))
		if sum(t, b) != sum(t, again) {
			t.Errorf("%s differs when it is built again elsewhere", filepath.Base(b))
		}
	}
}

// copyContext copies what .dockerignore does not exclude: it has names from the root, and one pattern for files anywhere.
func copyContext(t *testing.T, root, to string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Split(string(text), "\n")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && slices.Contains(ignored, name):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !d.Type().IsRegular() || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		return copyFile(path, filepath.Join(to, name))
	})
	if err != nil {
		t.Fatalf("copy the context: %v", err)
	}
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm())
}

func sum(t *testing.T, file string) [sha256.Size]byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(text)
}
