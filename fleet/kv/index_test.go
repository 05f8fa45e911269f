package kv

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"harmony.dev/fleet"
)

// The index has exactly the keys whose last message is a put, whatever came before, over any number of
// passes; and what a pass has found is the number of its subjects.
func TestIndex_Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		known := map[string]bool{}
		var rev uint64
		for pass := range rapid.Uint64Range(1, 4).Draw(t, "passes") {
			x.begin(pass + 1)
			subjects, live := map[string]bool{}, map[string]bool{}
			apply := func(label string) {
				rev++
				m := Message{
					Key:      rapid.SampledFrom([]string{"a", "b", "c", "d", fleet.KeyLease, fleet.KeyEpoch}).Draw(t, label),
					Op:       rapid.SampledFrom([]Op{Put, Put, Delete, Purge, Expired}).Draw(t, "op"),
					Revision: rev,
				}
				x.apply(&m)
				subjects[m.Key] = true
				live[m.Key] = m.Op == Put
				known[m.Key] = m.Op == Put
			}
			for range rapid.IntRange(0, 20).Draw(t, "replayed") {
				apply("key")
				if x.found() != len(subjects) {
					t.Fatalf("found %d of %d subjects", x.found(), len(subjects))
				}
			}
			for _, m := range x.sweep() {
				if live[m.Key] || !known[m.Key] || m.Op != Swept {
					t.Fatalf("swept %+v, live %v", m, live)
				}
				known[m.Key] = false
			}
			for range rapid.IntRange(0, 10).Draw(t, "tailed") {
				apply("key in the tail")
			}
			entries, all := 0, 0
			for key, ok := range known {
				if _, has := x.keys[key]; has != ok {
					t.Fatalf("key %s in the index: %v, want %v", key, has, ok)
				}
				if ok {
					all++
					if !fleet.IsReserved(key) {
						entries++
					}
				}
			}
			if len(x.keys) != all || x.entries() != entries {
				t.Fatalf("keys %d of %d, entries %d of %d", len(x.keys), all, x.entries(), entries)
			}
			if got := x.subjects(time.Time{}); got != len(subjects) {
				t.Fatalf("the stream has %d subjects, the index says %d", len(subjects), got)
			}
		}
	})
}

func TestIndex_MarkersThatMayHaveExpiredDoNotCount(t *testing.T) {
	stored := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	x := newIndex()
	x.begin(1)
	for i, ttl := range []string{"", "3600s", "60", "1m0s", "never"} {
		m := Message{Key: string(rune('a' + i)), Op: Delete, Revision: uint64(i), Time: stored, Header: nats.Header{}}
		if ttl != "" {
			m.Header.Set(headerTTL, ttl)
		}
		x.apply(&m)
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 5}, {50 * time.Second, 5}, {59 * time.Second, 3}, {2 * time.Hour, 2}, {0, 2}} {
		if got := x.subjects(stored.Add(c.after)); got != c.want {
			t.Errorf("after %s %d subjects, want %d", c.after, got, c.want)
		}
	}
}
