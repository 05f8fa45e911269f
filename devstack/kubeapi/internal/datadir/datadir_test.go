package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestOpen_HeldDirectoryIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	held, err := Open(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_, err = Open(t.Context(), path, time.Millisecond)
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("got error %v, want ErrInUse", err)
	}
	if want := "process " + strconv.Itoa(os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not name the %s", err, want)
	}
}

func TestOpen_WaitsForTheHolderToEnd(t *testing.T) {
	path := t.TempDir()
	held, err := Open(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan error, 1)
	go func() {
		dir, err := Open(t.Context(), path, time.Minute)
		if err == nil {
			dir.Close()
		}
		next <- err
	}()
	held.Close()
	if err := <-next; err != nil {
		t.Errorf("opening after the holder's end: %v", err)
	}
}
