package protocol

import (
	"maps"
	"slices"

	"harmony.dev/fleet"
)

// value is a desired-state value as it is stored. It never changes.
type value struct {
	bytes []byte
	hash  string
}

func newValue(b []byte) *value { return &value{bytes: b, hash: fleet.Hash(b)} }

// check reports whether the runtime can be given the value.
func (v *value) check() error {
	_, err := fleet.DecodeDesired(v.bytes)
	return err
}

// values is what is in desired-state for the device.
type values map[fleet.DeploymentName]*value

func (v values) names() []fleet.DeploymentName { return slices.Sorted(maps.Keys(v)) }

func (v values) digest() string {
	hashes := make(map[fleet.DeploymentName]string, len(v))
	for name, x := range v {
		hashes[name] = x.hash
	}
	return fleet.Digest(hashes)
}
