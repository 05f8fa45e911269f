package kv

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
)

// Any operations are cut into batches that are within the limits, in order and whole; exactly one
// message of each carries the fence, and every expectation is still there.
func TestBatches_Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 2500).Draw(t, "ops")
		values := [][]byte{nil, []byte("v"), []byte(strings.Repeat("x", 60_000))}
		large := rapid.IntRange(0, 20).Draw(t, "large of 20")
		expecting := rapid.IntRange(0, 20).Draw(t, "expecting of 20")
		ops := make([]Write, n)
		for i := range ops {
			ops[i] = Write{Key: "k" + strings.Repeat("y", i%7) + string(rune('a'+i%26)), Value: values[1]}
			if (i*7)%20 < large {
				ops[i].Value = values[2]
			}
			if (i*11)%20 < expecting {
				rev := uint64(i)
				ops[i].Expect = &rev
			}
		}
		var joined []Write
		for _, run := range batches(fleet.BucketDesiredState, 5, ops) {
			joined = append(joined, run...)
			msgs := fencedMessages(fleet.BucketDesiredState, 5, run)
			number("id", msgs)
			if len(msgs) > batchMessages {
				t.Fatalf("%d messages", len(msgs))
			}
			bytes, fences, expectations := 0, 0, 0
			for _, m := range msgs {
				bytes += size(m)
				switch {
				case m.Header.Get(headerExpectRevisionKey) != "":
					fences++
				case m.Header.Get(headerExpectRevision) != "":
					expectations++
				}
			}
			if bytes > batchBytes && len(run) > 1 {
				t.Fatalf("%d bytes", bytes)
			}
			wanted := 0
			for _, op := range run {
				if op.Expect != nil {
					wanted++
				}
			}
			if fences != 1 || expectations != wanted {
				t.Fatalf("%d fences, %d of %d expectations", fences, expectations, wanted)
			}
		}
		same := slices.EqualFunc(ops, joined, func(a, b Write) bool { return a.Key == b.Key && a.Expect == b.Expect })
		if !same {
			t.Fatalf("%d operations went in, %d came out, or in another order", len(ops), len(joined))
		}
	})
}

func TestFormatTTL(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Millisecond: "1s", time.Second: "1s", 1500 * time.Millisecond: "2s", time.Hour: "3600s"} {
		if got := formatTTL(d); got != want {
			t.Errorf("%s: %s", d, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{least: 50 * time.Millisecond, most: time.Second}
	for i, want := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
		want *= time.Millisecond
		if got := b.next(b.most); got < want/2 || got > want {
			t.Errorf("wait %d is %s, want %s to %s", i, got, want/2, want)
		}
	}
	if got := b.next(100 * time.Millisecond); got > 100*time.Millisecond {
		t.Errorf("bounded wait %s", got)
	}
	b.reset()
	if got := b.next(b.most); got > 50*time.Millisecond {
		t.Errorf("after reset %s", got)
	}
}
