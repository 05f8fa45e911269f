package fleet

import (
	"fmt"
	"time"
)

// MaxMirrorSize is the size of the largest value in the mirror, in bytes.
const MaxMirrorSize = 512 << 10

// MirrorDeployment is the value of a key "deployment.<name>" of the mirror: a Deployment, trimmed to
// what the operator reads. With a Tombstone the resource is gone and the other fields are empty.
// Selector and score are carried as written, however deep the score is; the reconciler judges them. What
// cannot be carried at all is left out, and Invalid says why: what runs stays as it is.
type MirrorDeployment struct {
	UID            string     `json:"uid,omitempty"`
	Generation     int64      `json:"generation,omitempty"`
	TargetSelector Selector   `json:"targetSelector"`
	Score          Score      `json:"score"`
	Invalid        string     `json:"invalid,omitempty"`
	Deleting       bool       `json:"deleting,omitempty"`
	Tombstone      *Tombstone `json:"tombstone,omitempty"`
}

// MirrorDevice is the value of a key "device.<name>" of the mirror: a Device, trimmed. One with Invalid only says that
// there is such a Device, and why no more is known of it: what it is to run stays as it is.
type MirrorDevice struct {
	UID         string            `json:"uid,omitempty"`
	Generation  int64             `json:"generation,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`   // all labels of the resource: selectors match these
	Reported    map[string]string `json:"reported,omitempty"` // those of them that came from the device's info
	Status      DeviceStatus      `json:"status"`
	Invalid     string            `json:"invalid,omitempty"`
	Deleting    bool              `json:"deleting,omitempty"`
	Quarantined bool              `json:"quarantined,omitempty"`
	Tombstone   *Tombstone        `json:"tombstone,omitempty"`
}

// TombstoneTTL is how long a tombstone stays in the mirror.
const TombstoneTTL = 7 * 24 * time.Hour

// TombstoneCause says how a resource went.
type TombstoneCause string

// The causes. Deleted means that the entry which the tombstone replaces said deleting.
const (
	TombstoneDeleted  TombstoneCause = "deleted"
	TombstoneVanished TombstoneCause = "vanished"
)

// Tombstone marks a resource that the apiserver no longer has.
type Tombstone struct {
	UID   string         `json:"uid"` // "" when the entry it replaces could not be read
	Cause TombstoneCause `json:"cause"`
	At    time.Time      `json:"at"` // the patcher's clock, for people; the stamp that counts is the server's
}

// Synced is the value of the key "_synced": the mirror was whole under this epoch of fleet-resources.
type Synced struct {
	Epoch uint64 `json:"epoch"`
}

// DecodeMirrorDeployment parses a value of a Deployment's mirror key.
func DecodeMirrorDeployment(b []byte) (MirrorDeployment, error) {
	var d MirrorDeployment
	if err := decodeDeep(b, MaxMirrorSize, anyDepth, &d); err != nil {
		return MirrorDeployment{}, err
	}
	if err := validateMirror(d.UID, d.Generation, d.Tombstone); err != nil {
		return MirrorDeployment{}, err
	}
	return d, nil
}

// DecodeMirrorDevice parses a value of a Device's mirror key.
func DecodeMirrorDevice(b []byte) (MirrorDevice, error) {
	var d MirrorDevice
	if err := decode(b, MaxMirrorSize, &d); err != nil {
		return MirrorDevice{}, err
	}
	if err := validateMirror(d.UID, d.Generation, d.Tombstone); err != nil {
		return MirrorDevice{}, err
	}
	return d, nil
}

// DecodeSynced parses the value of the synced key.
func DecodeSynced(b []byte) (Synced, error) {
	var s Synced
	if err := decode(b, 1<<10, &s); err != nil {
		return Synced{}, err
	}
	if s.Epoch == 0 {
		return Synced{}, fmt.Errorf("%w: synced without an epoch", ErrInvalid)
	}
	return s, nil
}

// validateMirror lets a tombstone do without a uid: the entry that it replaces may have been unreadable.
func validateMirror(uid string, generation int64, t *Tombstone) error {
	switch {
	case t != nil && t.Cause != TombstoneDeleted && t.Cause != TombstoneVanished:
		return fmt.Errorf("%w: tombstone cause %.40q is not deleted or vanished", ErrInvalid, t.Cause)
	case t != nil:
		return nil
	case generation < 0:
		return fmt.Errorf("%w: mirror entry with generation %d", ErrInvalid, generation)
	}
	return validateUID("mirror entry", uid)
}
