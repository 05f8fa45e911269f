package soak

import (
	"fmt"
	"os"
	"testing"
	"time"

	"harmony.dev/e2e/invariant"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet/fleettest/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// tries bounds how many schedules are tried to shorten one that failed.
const tries = 12

// TestSoak plays rounds for DURATION (2m unless said otherwise).
func TestSoak(t *testing.T) {
	seed := lab.Seed(t)
	duration := 2 * time.Minute
	if text := os.Getenv("DURATION"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("DURATION=%q: %v", text, err)
		}
		duration = d
	}
	var played []Round
	ok := t.Run("rounds", func(t *testing.T) {
		p := newPlayer(lab.New(t, lab.Options{}))
		for start := time.Now(); time.Since(start) < duration; {
			round := RoundOf(seed, len(played))
			played = append(played, round)
			if violations := p.play(round); len(violations) > 0 {
				t.Fatalf("round %d:\n%s", len(played), invariant.Text(violations, 20))
			}
			t.Logf("round %d: well (%d actions)", len(played), len(round))
		}
	})
	lab.Report(t, lab.Run{
		Name: "soak", Command: fmt.Sprintf("make soak DURATION=%s SEED=%d", duration, seed),
		Result: fmt.Sprintf("%d rounds, %s", len(played), map[bool]string{true: "no violation", false: "failed"}[ok]),
		Passed: ok,
	})
	if ok {
		return
	}
	t.Logf("seed %d failed with this schedule:\n%s", seed, Text(played))
	short := Shorten(played, tries, func(rounds []Round) bool {
		return !t.Run("shorter", func(t *testing.T) {
			p := newPlayer(lab.New(t, lab.Options{}))
			for _, round := range rounds {
				if violations := p.play(round); len(violations) > 0 {
					t.Fatal(invariant.Text(violations, 5))
				}
			}
		})
	})
	t.Logf("shortened:\n%s", Text(short))
}
