package soak

import (
	"reflect"
	"slices"
	"testing"
)

func TestRoundOf_IsAFunctionOfTheSeed(t *testing.T) {
	for n := range 20 {
		if a, b := RoundOf(7, n), RoundOf(7, n); !reflect.DeepEqual(a, b) {
			t.Fatalf("round %d is %v and %v", n, a, b)
		}
	}
	if reflect.DeepEqual(RoundOf(7, 0), RoundOf(8, 0)) {
		t.Error("two seeds give the same round")
	}
}

func TestRoundOf_ReachesEveryKind(t *testing.T) {
	seen := map[Kind]bool{}
	for n := range 200 {
		for _, a := range RoundOf(1, n) {
			seen[a.Kind] = true
		}
	}
	for _, k := range slices.Concat(edits, faults) {
		if !seen[k] {
			t.Errorf("no round of 200 has %q", k)
		}
	}
}

func TestShorten(t *testing.T) {
	var rounds []Round
	for n := range 12 {
		rounds = append(rounds, RoundOf(3, n))
	}
	culprits := []Action{rounds[4][0], rounds[9][1]}
	tried := 0
	fails := func(rs []Round) bool {
		tried++
		for _, c := range culprits {
			if !slices.ContainsFunc(rs, func(r Round) bool { return slices.Contains(r, c) }) {
				return false
			}
		}
		return true
	}
	short := Shorten(rounds, 200, fails)
	if got := slices.Concat(short...); !slices.Equal(got, Round(culprits)) {
		t.Errorf("shortened to %v, want %v", got, culprits)
	}
	tried = 0
	if again := Shorten(rounds, 5, fails); tried > 5 || !fails(again) {
		t.Errorf("with 5 tries: %d tried, still failing: %t", tried, fails(again))
	}
}
