package protocol

import (
	"math/rand/v2"
	"time"
)

// Backoff bounds the time between attempts: it doubles from Min to Max, and each wait is jittered
// down by up to half.
type Backoff struct{ Min, Max time.Duration }

// delay returns how long to wait after so many failed attempts in a row, 1 or more.
func (b Backoff) delay(failures int, r *rand.Rand) time.Duration {
	d := b.Min
	for range failures - 1 {
		if d *= 2; d >= b.Max {
			break
		}
	}
	d = min(d, b.Max)
	return d - time.Duration(r.Float64()*float64(d)/2)
}

// within returns a random duration from zero to d.
func within(d time.Duration, r *rand.Rand) time.Duration {
	return time.Duration(r.Float64() * float64(d))
}

// around returns d ± share.
func around(d time.Duration, share float64, r *rand.Rand) time.Duration {
	return time.Duration(float64(d) * (1 + share*(2*r.Float64()-1)))
}
