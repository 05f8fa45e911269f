package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"harmony.dev/agent/disk"
	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

func state(value string) protocol.State {
	return protocol.State{Device: "pi", Workloads: []protocol.Stored{{
		Deployment: "web", Desired: []byte(value),
		Report: fleet.Report{Phase: fleet.PhasePending, ObservedHash: fleet.Hash([]byte(value)), LastEventAt: "2026-01-01T00:00:00Z"},
	}}}
}

func TestStore_KeepsTheLast(t *testing.T) {
	for _, sync := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "new")
		s, err := disk.Open(dir, sync)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load("pi"); err != nil || len(got.Workloads) > 0 {
			t.Fatalf("nothing was stored: %+v, %v", got, err)
		}
		for _, v := range []string{"one", "two"} {
			if err := s.Save(state(v)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Load("pi"); err != nil || !reflect.DeepEqual(got, state("two")) {
			t.Fatalf("got %+v, %v", got, err)
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 {
			t.Errorf("left behind: %v", files)
		}
	}
}

// TestStore_HalfWritten: what a crash leaves in the middle of a write does not count.
func TestStore_HalfWritten(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save(state("one")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pi.json.tmp"), []byte(`{"form`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load("pi"); err != nil || !reflect.DeepEqual(got, state("one")) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if err := s.Save(state("two")); err != nil {
		t.Fatal(err)
	}
}

func TestStore_SetsAsideWhatIsNotUsable(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", `{"format":1,"sha256":"00","state":{"device":"pi"}}`, `{"format":2}`} {
		path := filepath.Join(dir, "pi.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.Load("pi")
		if !errors.Is(err, fleet.ErrInvalid) || got.Device != "" {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
		if b, err := os.ReadFile(path + ".bad"); err != nil || string(b) != text {
			t.Errorf("%q was not set aside: %v", text, err)
		}
		if _, err := s.Load("pi"); err != nil {
			t.Errorf("%q: still there: %v", text, err)
		}
	}
}

func TestStore_SaysWhatItCannotWrite(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(state("one")); err == nil {
		t.Error("no error without a directory")
	}
	if _, err := disk.Open(filepath.Join("/dev/null", "x"), false); err == nil {
		t.Error("no error for a directory that cannot be")
	}
}
