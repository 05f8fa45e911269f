package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"harmony.dev/e2e/lab"
)

// TestManifests_AreWhatTheChartRenders runs what 'make manifests' runs and compares byte by byte.
func TestManifests_AreWhatTheChartRenders(t *testing.T) {
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), file(t, "scripts", "manifests"), out)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("scripts/manifests: %v\n%s", err, said)
	}
	for _, name := range []string{"manifests/crds.yaml", "manifests/harmony-fleet.yaml"} {
		want, got := read(t, filepath.Join(out, name)), read(t, file(t, "deploy", name))
		if got != want {
			t.Errorf("deploy/%s is not what the chart renders: run 'make manifests'", name)
		}
	}
	same(t, filepath.Join(out, "chart", "files"), file(t, "deploy", "chart", "files"))
	same(t, filepath.Join(out, "chart", "files", "crds"), file(t, "deploy", "chart", "files", "crds"))
}

// TestManifests_AreWholeAsKustomizationSays has kubectl build what it would apply.
func TestManifests_AreWholeAsKustomizationSays(t *testing.T) {
	dir := file(t, "deploy", "manifests")
	out, err := exec.CommandContext(t.Context(), filepath.Join(lab.BinDir(t), "kubectl"), "kustomize", dir).Output()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v", err)
	}
	want := map[string]bool{}
	for _, name := range []string{"namespace.yaml", "crds.yaml", "harmony-fleet.yaml"} {
		for _, u := range parse(t, read(t, filepath.Join(dir, name))) {
			want[label(u)] = true
		}
	}
	for _, u := range parse(t, string(out)) {
		if !want[label(u)] {
			t.Errorf("%s is in no file", label(u))
		}
		delete(want, label(u))
		if isHook(u) {
			t.Errorf("%s is a hook: nothing but Helm knows what that is", label(u))
		}
	}
	for missing := range want {
		t.Errorf("%s is not applied", missing)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// same compares the files of two folders.
func same(t testing.TB, want, got string) {
	t.Helper()
	wanted, there := names(t, want), names(t, got)
	for name := range wanted {
		if !there[name] || read(t, filepath.Join(want, name)) != read(t, filepath.Join(got, name)) {
			t.Errorf("%s is not as its source: run 'make manifests'", filepath.Join(got, name))
		}
	}
	for name := range there {
		if !wanted[name] {
			t.Errorf("%s has no source", filepath.Join(got, name))
		}
	}
}

func names(t testing.TB, dir string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, e := range entries {
		if !e.IsDir() {
			all[e.Name()] = true
		}
	}
	return all
}
