package lab

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// seedVariable names the variable by which a run is repeated.
const seedVariable = "SEED"

// Seed is the seed of everything that a scenario does at random: that of the environment (SEED=n), or
// another one each time. It is printed, so that a failure can be repeated.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) % 1_000_000
	if text := os.Getenv(seedVariable); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s=%q: want a number", seedVariable, text)
		}
		seed = n
	}
	t.Logf("seed %d (repeat with %s=%d)", seed, seedVariable, seed)
	return seed
}
