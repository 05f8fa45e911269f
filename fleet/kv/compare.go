package kv

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jsm.go/api"

	"harmony.dev/fleet"
)

// oldestFirstSeq is what a first sequence taken from the clock is never below: the beginning of 2020,
// in microseconds.
const oldestFirstSeq = 1_577_836_800_000_000

// free lists the settings that an operator may change on a stream without touching a promise of this
// package, and those which the comparison treats by itself.
func free(field string) bool {
	switch field {
	case "description", "placement", "compression", "metadata", "first_seq", "consumer_limits":
		return true
	}
	return false
}

// reads lists the settings that a reader relies on.
func reads(field string) bool {
	switch field {
	case "subjects", "retention", "max_msgs_per_subject", "max_msgs", "max_age",
		"mirror", "sources", "subject_transform":
		return true
	}
	return false
}

// differences compares a stream's configuration with the wanted one, field by field as they are on
// the wire, and describes what differs. With relied set, only the fields that it accepts count.
func differences(want, got api.StreamConfig, relied func(field string) bool) ([]string, error) {
	w, err := fields(want)
	if err != nil {
		return nil, err
	}
	g, err := fields(got)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(w)
	maps.Copy(all, g)
	var diffs []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if free(name) || relied != nil && !relied(name) || text(w[name]) == text(g[name]) {
			continue
		}
		diffs = append(diffs, fmt.Sprintf("%s is %s, must be %s", name, text(g[name]), text(w[name])))
	}
	if relied == nil && got.FirstSeq < oldestFirstSeq {
		diffs = append(diffs, fmt.Sprintf("first_seq is %d, must be the time of creation in microseconds", got.FirstSeq))
	}
	return diffs, nil
}

// compareFleet reports whether the stream belongs to the fleet.
func compareFleet(bucket, want string, got api.StreamConfig) error {
	if name := got.Metadata[fleet.MetadataFleet]; name != want {
		return &FleetError{Bucket: bucket, Want: want, Got: name}
	}
	return nil
}

// fields returns a configuration as the JSON fields that have a value.
func fields(cfg api.StreamConfig) (map[string]json.RawMessage, error) {
	b, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("encode stream configuration: %w", err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("decode stream configuration: %w", err)
	}
	return m, nil
}

// text shows a field. Absent fields are shown as what they mean.
func text(v json.RawMessage) string {
	if len(v) == 0 {
		return "unset"
	}
	return strings.TrimSpace(string(v))
}
