package fleet

import "fmt"

// MaxDesiredSize is the size of the largest desired-state value, in bytes: a score and its envelope.
const MaxDesiredSize = MaxScoreSize + 1<<10

// maxRecordSize is the size of the largest book-keeping record, in bytes: two texts of MaxErrorSize of
// which every byte is escaped, and the rest.
const maxRecordSize = 16 << 10

// Desired is the value of a desired-state key. Its bytes on the wire are canonical, so that equal
// wishes are equal bytes: build them with [EncodeDesired].
type Desired struct {
	UID   string `json:"uid"` // of the Deployment: the same name created again is another wish
	Score Score  `json:"score"`
}

// EncodeDesired returns the canonical bytes of a desired-state value:
// {"score":{"data":…,"type":"…"},"uid":"…"}.
func EncodeDesired(d Desired) ([]byte, error) {
	if err := validateUID("desired state", d.UID); err != nil {
		return nil, err
	}
	score, err := d.Score.Canonical()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(score)+len(d.UID)+len(`{"score":,"uid":""}`))
	b = append(b, `{"score":`...)
	b = append(b, score...)
	b = append(b, `,"uid":`...)
	b = appendString(b, d.UID)
	return append(b, '}'), nil
}

// DecodeDesired is the inverse of [EncodeDesired]. It accepts any spelling of the document; compare
// bytes, not decoded values, to learn whether a stored value is the wanted one.
func DecodeDesired(b []byte) (Desired, error) {
	var d Desired
	if err := decode(b, MaxDesiredSize, &d); err != nil {
		return Desired{}, err
	}
	if err := validateUID("desired state", d.UID); err != nil {
		return Desired{}, err
	}
	if err := d.Score.Validate(); err != nil {
		return Desired{}, err
	}
	return d, nil
}

// Applied is the value of a key "_applied.<deployment>": up to which generation the reconciler has
// carried a Deployment into desired-state. It is the last message of the Deployment's last batch.
type Applied struct {
	UID        string `json:"uid"`
	Generation int64  `json:"generation"`
	Invalid    string `json:"invalid,omitempty"` // why the Deployment cannot be applied; its keys stay as they are
	Held       string `json:"held,omitempty"`    // the id of the hold that keeps deletes of this Deployment back
}

// EncodeApplied returns the value of an applied key. Invalid is cut to [MaxErrorSize] bytes, so that no
// message makes a record that cannot be read back.
func EncodeApplied(a Applied) ([]byte, error) {
	a.Invalid = ClipError(a.Invalid)
	if err := a.Validate(); err != nil {
		return nil, err
	}
	return marshal(a)
}

// Validate checks uid and generation.
func (a Applied) Validate() error {
	if a.Generation < 0 {
		return fmt.Errorf("%w: applied record with generation %d", ErrInvalid, a.Generation)
	}
	return validateUID("applied record", a.UID)
}

// DecodeApplied parses the value of an applied key.
func DecodeApplied(b []byte) (Applied, error) {
	var a Applied
	if err := decode(b, maxRecordSize, &a); err != nil {
		return Applied{}, err
	}
	if err := a.Validate(); err != nil {
		return Applied{}, err
	}
	return a, nil
}

// Hold is the value of the key "_hold": deletes that look like lost truth and wait for a person.
type Hold struct {
	ID       string `json:"id"`
	UpTo     uint64 `json:"upTo"`     // the mirror revision that was counted: approval covers deletes caused up to it
	Approved bool   `json:"approved"` // a person said that the deletes are meant
	Deletes  int    `json:"deletes"`  // deletes held back
	Keys     int    `json:"keys"`     // keys in the bucket when the hold began
}

// DecodeHold parses the value of the hold key.
func DecodeHold(b []byte) (Hold, error) {
	var h Hold
	if err := decode(b, maxRecordSize, &h); err != nil {
		return Hold{}, err
	}
	if h.ID == "" {
		return Hold{}, fmt.Errorf("%w: hold without an id", ErrInvalid)
	}
	return h, nil
}

// LeaseRecord is the value of the key "_lease": who holds it, for people. Possession is the key's revision.
type LeaseRecord struct {
	Instance string `json:"instance"`
	Term     string `json:"term,omitempty"` // names this possession, from taking the lease to losing it
}

// DecodeLease parses the value of the lease key.
func DecodeLease(b []byte) (LeaseRecord, error) {
	var l LeaseRecord
	return l, decode(b, maxRecordSize, &l)
}

// EpochRecord is the value of the key "_epoch". The epoch itself is the key's revision.
type EpochRecord struct {
	Instance string `json:"instance"`
	Lease    uint64 `json:"lease"`          // revision of the lease under which the epoch was taken
	Term     string `json:"term,omitempty"` // that of the lease: tells whether who took the epoch still holds it
}

// DecodeEpoch parses the value of the epoch key.
func DecodeEpoch(b []byte) (EpochRecord, error) {
	var e EpochRecord
	return e, decode(b, maxRecordSize, &e)
}
