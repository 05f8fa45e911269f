package mirror

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"harmony.dev/fleet"
	"harmony.dev/services/patcher/device"
)

// Want is what a custom resource asks of the mirror. Exactly one of the first three fields is set.
type Want struct {
	Value   []byte   // put this value
	Missing []string // keep what is there and add these finalizers to the resource first
	Refused error    // keep what is there: the resource cannot be mirrored
	// Placeholder is put without a Value when there is nothing to be kept: else readers would take the resource
	// for gone. Nil means that there is no hurry, or no key.
	Placeholder []byte
}

// Deployment returns the key of a Deployment resource in the mirror and what it asks for. The bucket
// takes values of at most so many bytes.
func Deployment(resource map[string]any, most int) (key string, want Want) {
	m := metadataOf(resource)
	key = fleet.DeploymentKey(fleet.DeploymentName(m.Name))
	value, err := encodeDeployment(m, resource, most)
	return key, gate(m, key, value, err, fleet.FinalizerDesiredState)
}

// Device returns the key of a Device resource in the mirror and what it asks for. The bucket takes
// values of at most so many bytes.
func Device(resource map[string]any, most int) (key string, want Want) {
	m := metadataOf(resource)
	key = fleet.DeviceKey(fleet.DeviceID(m.Name))
	value, err := encodeDevice(m, resource, most)
	return key, gate(m, key, value, err, fleet.FinalizerDesiredState, fleet.FinalizerDeviceData)
}

// gate lets a value pass once the resource has its finalizers: what the mirror says of a resource must
// not outlive it unnoticed.
func gate(m metadata, key string, value []byte, err error, finalizers ...string) Want {
	name, illegal := fleet.ParseResourceKey(key)
	if illegal != nil {
		return Want{Refused: illegal}
	}
	if err != nil {
		return Want{Refused: err, Placeholder: placeholder(name, m, fleet.InvalidText(err))}
	}
	if missing := m.missing(finalizers); len(missing) > 0 {
		why := "it has no finalizer " + strings.Join(missing, ", ") + " yet: without it nothing of it is carried out"
		return Want{Missing: missing, Placeholder: placeholder(name, m, why)}
	}
	return Want{Value: value}
}

// placeholder returns the value that says no more of a resource than that it is there, and why. It is the same for the
// same resource.
func placeholder(name fleet.ResourceKey, m metadata, why string) []byte {
	var v any = fleet.MirrorDevice{UID: m.UID, Generation: m.Generation, Invalid: why}
	if name.Deployment != "" {
		v = fleet.MirrorDeployment{UID: m.UID, Generation: m.Generation, Invalid: why}
	}
	b, err := marshal(v)
	if err != nil {
		return nil // strings and numbers can be encoded
	}
	return b
}

func encodeDeployment(m metadata, resource map[string]any, most int) ([]byte, error) {
	d := fleet.MirrorDeployment{UID: m.UID, Generation: m.Generation, Deleting: m.Deleting}
	var spec struct {
		TargetSelector fleet.Selector `json:"targetSelector"`
		Score          fleet.Score    `json:"score"`
	}
	err := decode(resource["spec"], &spec)
	if err == nil {
		d.TargetSelector, d.Score = spec.TargetSelector, spec.Score
	}
	value, err := encode(d, err, most, func(b []byte) error { _, err := fleet.DecodeMirrorDeployment(b); return err })
	if err == nil {
		return value, nil
	}
	d.TargetSelector, d.Score = fleet.Selector{}, fleet.Score{}
	if !d.Deleting { // else its wish no longer counts
		d.Invalid = fleet.InvalidText(err)
	}
	return marshal(d)
}

func encodeDevice(m metadata, resource map[string]any, most int) ([]byte, error) {
	d := fleet.MirrorDevice{
		UID: m.UID, Generation: m.Generation, Deleting: m.Deleting,
		Labels: m.Labels, Reported: device.Owned(resource),
	}
	var spec struct {
		Quarantined bool `json:"quarantined"`
	}
	err := decode(resource["spec"], &spec)
	d.Quarantined = spec.Quarantined
	if decode(resource["status"], &d.Status) != nil {
		d.Status = fleet.DeviceStatus{} // somebody else's: shown as none, so that its writer replaces it
	}
	value, err := encode(d, err, most, func(b []byte) error { _, err := fleet.DecodeMirrorDevice(b); return err })
	if err != nil && d.Deleting { // what else it says no longer counts
		return marshal(fleet.MirrorDevice{UID: m.UID, Generation: m.Generation, Deleting: true})
	}
	return value, err
}

// encode returns the bytes of a mirror value once the bucket and its readers are sure to accept them.
func encode(v any, invalid error, most int, check func([]byte) error) ([]byte, error) {
	if invalid != nil {
		return nil, invalid
	}
	b, err := marshal(v)
	if err != nil {
		return nil, err
	}
	if err := check(b); err != nil {
		return nil, fmt.Errorf("it cannot be mirrored: %w", err)
	}
	if len(b) > most {
		return nil, fmt.Errorf("%w: it cannot be mirrored: it needs %d bytes, the NATS server takes %d (max_payload)", fleet.ErrInvalid, len(b), most)
	}
	return b, nil
}

// marshal gives equal resources equal bytes: fields in order, keys of objects sorted.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode a mirror value: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// decode converts part of a resource, absent or not, into a type of the contract.
func decode(part, into any) error {
	if part == nil {
		return nil
	}
	b, err := marshal(part)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("%w: read the resource: %w", fleet.ErrInvalid, err)
	}
	return nil
}
