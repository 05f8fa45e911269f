// Package pace limits how often something happens.
//
// A [Bucket] holds up to Burst tokens and gains Rate of them a second; each act takes one. Time is an
// argument: the bucket knows no clock, and one that goes back gives nothing.
package pace

import "time"

// Bucket is a token bucket. Create it with [New].
type Bucket struct {
	rate   float64
	burst  float64
	tokens float64
	at     time.Time
}

// New returns a full bucket. Rate is tokens a second.
func New(rate float64, burst int) *Bucket {
	return &Bucket{rate: rate, burst: float64(burst), tokens: float64(burst)}
}

// Take takes up to n tokens at the time now and returns how many it got.
func (b *Bucket) Take(now time.Time, n int) int {
	if gained := now.Sub(b.at); gained > 0 {
		if !b.at.IsZero() {
			b.tokens = min(b.burst, b.tokens+b.rate*gained.Seconds())
		}
		b.at = now
	}
	got := min(n, int(b.tokens))
	b.tokens -= float64(got)
	return got
}

// Return gives back tokens that were not used.
func (b *Bucket) Return(n int) { b.tokens = min(b.burst, b.tokens+float64(n)) }
