package kv

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"harmony.dev/fleet"
)

// The index has exactly the keys whose last message is a put, whatever came before, over any number of
// passes; what a pass has found is the number of its subjects; and each key that a pass has not brought is
// swept, and said to have had a value or a marker.
func TestIndex_Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		known := map[string]bool{} // in view: whether it has a value
		var rev uint64
		for pass := range rapid.Uint64Range(1, 4).Draw(t, "passes") {
			barrier := rev + 3
			x.begin(Pass{Number: pass + 1, Barrier: barrier})
			subjects, missing := map[string]uint64{}, maps.Clone(known) // subjects: by which message they came
			apply := func(label string) {
				rev++
				m := Message{
					Key:      rapid.SampledFrom([]string{"a", "b", "c", "d", fleet.KeyLease, fleet.KeyEpoch}).Draw(t, label),
					Op:       rapid.SampledFrom([]Op{Put, Put, Delete, Purge, Expired}).Draw(t, "op"),
					Revision: rev,
				}
				x.apply(&m)
				if _, ok := subjects[m.Key]; !ok {
					subjects[m.Key] = rev
				}
				delete(missing, m.Key)
				known[m.Key] = m.Op == Put
			}
			for range rapid.IntRange(0, 20).Draw(t, "replayed") {
				apply("key")
				for last := barrier; last <= max(rev, barrier); last++ {
					want := 0
					for _, first := range subjects {
						if first <= last {
							want++
						}
					}
					if got := x.found(look{last: last}); got != want {
						t.Fatalf("of what there was at %d found %d, want %d of %v", last, got, want, subjects)
					}
				}
			}
			for _, m := range x.sweep() {
				if value, ok := missing[m.Key]; !ok || m.Op != Swept || m.Marker == value {
					t.Fatalf("swept %+v of %v", m, missing)
				}
				delete(missing, m.Key)
				delete(known, m.Key)
			}
			if len(missing) > 0 {
				t.Fatalf("not swept: %v", missing)
			}
			for range rapid.IntRange(0, 10).Draw(t, "tailed") {
				apply("key in the tail")
			}
			entries, all := 0, 0
			for key, ok := range known {
				if s, has := x.subjects[key]; (has && !s.marker) != ok {
					t.Fatalf("key %s in the index: %v, want %v", key, has, ok)
				}
				if ok {
					all++
					if !fleet.IsReserved(key) {
						entries++
					}
				}
			}
			if x.values != all || x.entries() != entries {
				t.Fatalf("values %d of %d, entries %d of %d", x.values, all, x.entries(), entries)
			}
			if got := x.least(look{}); got != len(subjects) {
				t.Fatalf("the stream has %d subjects, the index says %d", len(subjects), got)
			}
		}
	})
}
