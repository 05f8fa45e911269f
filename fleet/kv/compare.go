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

// highestFirstSeq is where a stream in files may begin at most. The server keeps the two highest bits of each
// sequence there for itself: beyond 2^62 it finds no last message of a key, and conditions fail. The rest is
// room to grow.
const highestFirstSeq = 1 << 61

// beginsWell reports whether a stream's first sequence can be the time of its creation in microseconds, or
// at least keeps tokens apart and conditions working.
func beginsWell(c api.StreamConfig) bool {
	return c.FirstSeq >= oldestFirstSeq && (c.Storage != api.FileStorage || c.FirstSeq <= highestFirstSeq)
}

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

// fixed lists the settings that the server does not let anybody change on an existing stream, or not in
// the direction that a bucket wants.
func fixed(field string) bool {
	switch field {
	case "name", "storage", "retention", "max_consumers", "mirror", "sealed", "deny_purge",
		"allow_msg_counter", "allow_msg_schedules", "persist_mode", "template_owner":
		return true
	}
	return false
}

// difference is a setting of a stream that is not as the bucket needs it. Got and want are as on the wire,
// empty for unset.
type difference struct {
	field     string
	got, want json.RawMessage
}

// String describes the difference: "allow_atomic is unset, must be true".
func (d difference) String() string {
	return fmt.Sprintf("%s is %s, must be %s", d.field, text(d.got), text(d.want))
}

// differences compares a stream's configuration with the wanted one and describes what differs. With relied
// set, only the fields that it accepts count.
func differences(want, got api.StreamConfig, relied func(field string) bool) ([]string, error) {
	ds, err := differ(want, got, relied)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, d := range ds {
		texts = append(texts, d.String())
	}
	if relied == nil && !beginsWell(got) {
		texts = append(texts, fmt.Sprintf("first_seq is %d, must be the time of creation in microseconds", got.FirstSeq))
	}
	return texts, nil
}

// differ compares field by field as they are on the wire.
func differ(want, got api.StreamConfig, relied func(field string) bool) ([]difference, error) {
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
	var ds []difference
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if free(name) || relied != nil && !relied(name) || text(w[name]) == text(g[name]) {
			continue
		}
		ds = append(ds, difference{field: name, got: g[name], want: w[name]})
	}
	return ds, nil
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
