package mirror

import "harmony.dev/fleet"

// Entry is what the bucket holds under one key of the mirror. A key without a message has no entry.
type Entry struct {
	Value []byte // nil for a delete or purge marker
	// Own says that the patcher wrote the value: it was written under an epoch and can be read. Anything
	// else is foreign: its word is not taken, all other fields but UID are empty.
	Own       bool
	UID       string // of the resource, as the last own value had it
	Deleting  bool   // the resource was being deleted
	Tombstone bool   // the resource is gone
	Invalid   bool   // there is a resource, and the value says no more of it
}

// Shows reports whether the entry is the patcher's and says what a resource is, so that readers can go by it while the
// resource cannot be mirrored.
func (e Entry) Shows() bool { return e.Own && !e.Tombstone && !e.Invalid }

// Stored is what the bucket holds, by key.
type Stored map[string]Entry

// Put takes in a message with a value. Epoch is the one that it was written under, zero when somebody else
// wrote it. It reports whether the message is foreign; a key that is none of the mirror is refused.
func (s Stored) Put(key string, value []byte, epoch uint64) (foreign bool, err error) {
	name, err := fleet.ParseResourceKey(key)
	if err != nil {
		return false, err
	}
	entry, err := read(name, value)
	if err != nil || epoch == 0 {
		s[key] = Entry{Value: value, UID: s[key].UID}
		return true, err
	}
	if entry.UID == "" {
		entry.UID = s[key].UID
	}
	s[key] = entry
	return false, nil
}

// Mark takes in a delete or purge marker. The patcher writes none, so it is always foreign.
func (s Stored) Mark(key string) error {
	if _, err := fleet.ParseResourceKey(key); err != nil {
		return err
	}
	s[key] = Entry{UID: s[key].UID}
	return nil
}

// Forget takes in that there is no message under the key: its life ended, or it was swept.
func (s Stored) Forget(key string) { delete(s, key) }

func read(name fleet.ResourceKey, value []byte) (Entry, error) {
	if name.Deployment != "" {
		d, err := fleet.DecodeMirrorDeployment(value)
		return own(value, d.UID, d.Deleting, d.Invalid, d.Tombstone), err
	}
	d, err := fleet.DecodeMirrorDevice(value)
	return own(value, d.UID, d.Deleting, d.Invalid, d.Tombstone), err
}

func own(value []byte, uid string, deleting bool, invalid string, t *fleet.Tombstone) Entry {
	if t != nil {
		return Entry{Value: value, Own: true, UID: t.UID, Tombstone: true}
	}
	return Entry{Value: value, Own: true, UID: uid, Deleting: deleting, Invalid: invalid != ""}
}
