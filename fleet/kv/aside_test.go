package kv

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"harmony.dev/fleet"
)

func TestAside(t *testing.T) {
	var out bytes.Buffer
	a := NewAside("device-state", slog.New(slog.NewTextHandler(&out, nil)))
	bad := errors.New("bad")
	for i := range 25 {
		for range 2 {
			a.Add(Message{Key: fmt.Sprintf("k%02d", i), Revision: uint64(i)}, bad, i == 0)
		}
	}
	var s fleet.Source
	a.Fill(&s)
	if s.Poison != 25 || len(s.Set) != asideSample || s.Set[0] != (fleet.Poison{Bucket: "device-state", Key: "k00", Error: "bad", Kept: true}) {
		t.Errorf("source %+v", s)
	}
	if n := strings.Count(out.String(), "entry set aside"); n != 25 {
		t.Errorf("logged %d times", n)
	}
	a.Clear("k00")
	a.Reset()
	a.Fill(&s)
	if s.Poison != 0 || len(s.Set) != 0 {
		t.Errorf("after reset %+v", s)
	}
	out.Reset()
	a.Add(Message{Key: "k01", Revision: 1}, bad, false)
	if out.Len() != 0 {
		t.Error("an entry found again as it was is logged again")
	}
	a.Add(Message{Key: "k02", Revision: 99}, bad, false)
	a.Add(Message{Key: "k00", Revision: 0}, bad, false)
	if n := strings.Count(out.String(), "entry set aside"); n != 2 {
		t.Errorf("logged %d times: %s", n, out.String())
	}
}
