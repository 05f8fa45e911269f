package mirror

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"harmony.dev/fleet"
)

// Write is one value to put into the mirror.
type Write struct {
	Key   string
	Value []byte
	TTL   time.Duration // how long the value lives; zero means for ever
}

// Difference returns the writes that bring the mirror to what the resources ask for, sorted by key. A
// key without a want has no resource. At is the time that tombstones carry.
func Difference(wants map[string]Want, stored Stored, at time.Time) ([]Write, error) {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(wants)), maps.Keys(stored))
	slices.Sort(keys)
	var writes []Write
	for _, key := range slices.Compact(keys) {
		var w *Write
		var err error
		entry, found := stored[key]
		if want, exists := wants[key]; exists {
			w = put(key, want, entry)
		} else if found {
			w, err = bury(key, entry, at)
		}
		if err != nil {
			return nil, err
		}
		if w != nil {
			writes = append(writes, *w)
		}
	}
	return writes, nil
}

// put returns the write for a resource that exists, nil when the entry is to stay.
func put(key string, want Want, entry Entry) *Write {
	value := want.Value
	if value == nil && !entry.Shows() {
		value = want.Placeholder
	}
	if value == nil || entry.Own && bytes.Equal(entry.Value, value) {
		return nil
	}
	return &Write{Key: key, Value: value}
}

// bury returns the tombstone that replaces an entry whose resource is gone, nil when there is one.
func bury(key string, entry Entry, at time.Time) (*Write, error) {
	if entry.Own && entry.Tombstone {
		return nil, nil
	}
	t := &fleet.Tombstone{UID: entry.UID, Cause: fleet.TombstoneVanished, At: at.UTC()}
	if entry.Deleting {
		t.Cause = fleet.TombstoneDeleted
	}
	name, err := fleet.ParseResourceKey(key)
	if err != nil {
		return nil, fmt.Errorf("bury an entry: %w", err)
	}
	var value []byte
	if name.Deployment != "" {
		value, err = marshal(fleet.MirrorDeployment{Tombstone: t})
	} else {
		value, err = marshal(fleet.MirrorDevice{Tombstone: t})
	}
	return &Write{Key: key, Value: value, TTL: fleet.TombstoneTTL}, err
}
