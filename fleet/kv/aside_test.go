package kv

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"harmony.dev/fleet"
)

var errBad = errors.New("bad")

func newTestAside() (*Aside, *bytes.Buffer) {
	var out bytes.Buffer
	return NewAside("device-state", slog.New(slog.NewTextHandler(&out, nil))), &out
}

// lines returns how many entries were logged, and forgets them.
func lines(out *bytes.Buffer) int {
	defer out.Reset()
	return strings.Count(out.String(), "entry set aside")
}

// shown returns the count and the keys of the sample.
func shown(a *Aside) (int, string) {
	var s fleet.Source
	a.Fill(&s)
	keys := make([]string, 0, len(s.Set))
	for _, p := range s.Set {
		keys = append(keys, p.Key)
	}
	return s.Poison, strings.Join(keys, " ")
}

func bad(key string, revision uint64) Message { return Message{Key: key, Revision: revision} }

func TestAside(t *testing.T) {
	a, out := newTestAside()
	for i := range 9 {
		for range 2 {
			a.Add(bad(fmt.Sprintf("k%02d", i), uint64(i)), errBad, i == 0)
		}
	}
	var s fleet.Source
	a.Fill(&s)
	if s.Poison != 9 || len(s.Set) != 9 || s.Set[0] != (fleet.Poison{Bucket: "device-state", Key: "k00", Error: "bad", Kept: true}) {
		t.Errorf("source %+v", s)
	}
	if n := lines(out); n != 9 {
		t.Errorf("logged %d times", n)
	}
	a.Clear("k00")
	a.Reset()
	a.Fill(&s)
	if s.Poison != 0 || len(s.Set) != 0 {
		t.Errorf("after reset %+v", s)
	}
}

func TestAside_WhatIsFoundAgainAsItWasIsNotLoggedAgain(t *testing.T) {
	a, out := newTestAside()
	for i := range 3 {
		a.Add(bad(fmt.Sprintf("k%d", i), uint64(i)), errBad, false)
	}
	a.Clear("k0")
	a.Reset()
	lines(out)
	a.Add(bad("k1", 1), errBad, false)
	if n := lines(out); n != 0 {
		t.Errorf("logged %d times", n)
	}
	a.Add(bad("k2", 99), errBad, false)
	a.Add(bad("k0", 0), errBad, false)
	if n := lines(out); n != 2 {
		t.Errorf("logged %d times", n)
	}
}

func TestAside_CountIsExactAndTheSampleIsOfTheFirst(t *testing.T) {
	a, _ := newTestAside()
	const n = 3 * asideDetail
	for i := range n {
		a.Add(bad(fmt.Sprintf("k%04d", n-1-i), 1), errBad, false)
	}
	if count, keys := shown(a); count != n || !strings.HasPrefix(keys, "k0000 k0001 k0002 ") || len(strings.Fields(keys)) != asideSample {
		t.Errorf("%d set aside, among them %s", count, keys)
	}
	for i := range n {
		if i != 5 && i != 2500 {
			a.Clear(fmt.Sprintf("k%04d", i))
		}
	}
	a.Clear("never bad")
	if count, keys := shown(a); count != 2 || keys != "k0005" {
		t.Errorf("%d set aside, among them %s", count, keys)
	}
	a.Add(bad("k2500", 2), errBad, false)
	if count, keys := shown(a); count != 2 || keys != "k0005 k2500" {
		t.Errorf("%d set aside, among them %s", count, keys)
	}
}

// Whatever a device publishes, each bad key costs little, and asking for the account costs the same.
func TestAside_IsBounded(t *testing.T) {
	a, _ := newTestAside()
	const n = 100_000
	long := errors.New(strings.Repeat("x", 16<<10))
	before := heap()
	for i := range n {
		a.Add(bad(fmt.Sprintf("state.d1.a.b.%d", i), 1), long, false)
	}
	if each := (heap() - before) / n; each > 64 {
		t.Errorf("%d bytes for each bad key", each)
	}
	var s fleet.Source
	if allocs := testing.AllocsPerRun(10, func() { a.Fill(&s) }); allocs > 1 || s.Poison != n {
		t.Errorf("%d set aside, shown in %v allocations", s.Poison, allocs)
	}
	if len(s.Set[0].Error) != asideReason {
		t.Errorf("%d characters of the reason", len(s.Set[0].Error))
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestAside_LogHasAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, out := newTestAside()
		flicker := func(times int) {
			for i := range times {
				a.Add(bad("state.d1.web", uint64(i)), errBad, true)
				a.Clear("state.d1.web")
			}
		}
		flicker(1000)
		if n := lines(out); n != asideBurst {
			t.Errorf("logged %d times at once", n)
		}
		time.Sleep(asideEvery)
		flicker(1000)
		if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "left_out=990 ") {
			t.Errorf("a second later: %s", text)
		}
		out.Reset()
		time.Sleep(time.Minute)
		flicker(1)
		if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "left_out=999 ") {
			t.Errorf("a minute later: %s", text)
		}
		out.Reset()
		flicker(1000)
		if n := lines(out); n != asideBurst-1 {
			t.Errorf("logged %d times after a pause", n)
		}
	})
}
