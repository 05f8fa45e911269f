package fleet

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Sizes of the largest values that agents may write, in bytes.
const (
	MaxReportSize    = 8 << 10
	MaxInfoSize      = 32 << 10
	MaxHeartbeatSize = 1 << 10
	// MaxErrorSize is how much of an error message of a device is kept and shown.
	MaxErrorSize = 1 << 10
)

// Phase is what an agent says of a deployment on its device.
type Phase string

// The phases.
const (
	PhasePending Phase = "Pending" // known, not running yet
	PhaseRunning Phase = "Running"
	PhaseFailed  Phase = "Failed"
)

// Report is the value of a device-state key: what the agent says of one pair. A report counts only
// for the desired value whose hash it carries; about any other value it counts as pending.
type Report struct {
	Phase        Phase  `json:"phase"`
	ObservedHash string `json:"observedHash"` // hex SHA-256 of the value the report is about, see [Hash]
	LastEventAt  string `json:"lastEventAt"`  // the device's clock, RFC 3339, see [ParseTime]; shown, never compared with another clock
	LastError    string `json:"lastError,omitempty"`
}

// Validate checks phase, hash and time.
func (r Report) Validate() error {
	switch r.Phase {
	case PhasePending, PhaseRunning, PhaseFailed:
	default:
		return fmt.Errorf("%w: phase %.40q is not Pending, Running or Failed", ErrInvalid, r.Phase)
	}
	if !isHash(r.ObservedHash) {
		return fmt.Errorf("%w: observedHash %.80q is not 64 lower-case hex digits", ErrInvalid, r.ObservedHash)
	}
	if _, err := ParseTime(r.LastEventAt); err != nil {
		return fmt.Errorf("lastEventAt: %w", err)
	}
	return nil
}

// EventTime returns LastEventAt in UTC, or the zero time when it is not valid.
func (r Report) EventTime() time.Time {
	t, err := ParseTime(r.LastEventAt)
	if err != nil {
		return time.Time{}
	}
	return t
}

// EncodeReport returns the value of a device-state key. LastError is cut by [ClipError], so that no
// message makes a report that its readers refuse.
func EncodeReport(r Report) ([]byte, error) {
	r.LastError = ClipError(r.LastError)
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return marshal(r)
}

// DecodeReport parses and validates a report with encoding/json: the reference for faster decoders.
func DecodeReport(b []byte) (Report, error) {
	var r Report
	if err := decode(b, MaxReportSize, &r); err != nil {
		return Report{}, err
	}
	if err := r.Validate(); err != nil {
		return Report{}, err
	}
	return r, nil
}

// Digest is what an agent sends with a snapshot request so that "unchanged" costs nothing: the hex
// SHA-256 of the sorted lines "<deployment> <hash>\n" of all values it knows.
func Digest(hashes map[DeploymentName]string) string {
	return digest(hashes)
}

// DeviceInfo is the value of a device-info key: what a device says of itself.
type DeviceInfo struct {
	Labels       map[string]string `json:"labels,omitempty"`    // become labels of the Device; Kubernetes label syntax
	Inventory    map[string]string `json:"inventory,omitempty"` // facts for people: model, kernel, memory …
	AgentVersion string            `json:"agentVersion,omitempty"`
}

// Limits of a device's info.
const (
	// MaxFacts is how many labels, and how many inventory facts, a device may report.
	MaxFacts = 64
	// MaxVersionLength is the length of the longest agent version, in bytes.
	MaxVersionLength = 128
)

// Validate checks labels (Kubernetes label syntax), counts and lengths.
func (i DeviceInfo) Validate() error {
	if len(i.Labels) > MaxFacts || len(i.Inventory) > MaxFacts {
		return fmt.Errorf("%w: %d labels and %d inventory facts, at most %d of each are allowed", ErrInvalid, len(i.Labels), len(i.Inventory), MaxFacts)
	}
	if len(i.AgentVersion) > MaxVersionLength {
		return fmt.Errorf("%w: agentVersion is %d bytes long, at most %d are allowed", ErrInvalid, len(i.AgentVersion), MaxVersionLength)
	}
	for _, k := range slices.Sorted(maps.Keys(i.Labels)) {
		if err := ValidateLabel(k, i.Labels[k]); err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(i.Inventory)) {
		if v := i.Inventory[k]; k == "" || len(k) > MaxNameLength || len(v) > MaxErrorSize {
			return fmt.Errorf("%w: inventory fact %.80q has no name, a name over %d bytes or a value over %d bytes", ErrInvalid, k, MaxNameLength, MaxErrorSize)
		}
	}
	return nil
}

// DecodeInfo parses and validates a device's info.
func DecodeInfo(b []byte) (DeviceInfo, error) {
	var i DeviceInfo
	if err := decode(b, MaxInfoSize, &i); err != nil {
		return DeviceInfo{}, err
	}
	if err := i.Validate(); err != nil {
		return DeviceInfo{}, err
	}
	return i, nil
}

// Heartbeat is the value of a device-heartbeat key. That it came, and the server's stamp on it, is
// what counts; the device's own time is there to show clock skew.
type Heartbeat struct {
	At string `json:"at,omitempty"` // the device's clock, RFC 3339
}

// DecodeHeartbeat parses a heartbeat. A device whose heartbeat is malformed is alive all the same.
func DecodeHeartbeat(b []byte) (Heartbeat, error) {
	var h Heartbeat
	if err := decode(b, MaxHeartbeatSize, &h); err != nil {
		return Heartbeat{}, err
	}
	if h.At == "" {
		return h, nil
	}
	if _, err := ParseTime(h.At); err != nil {
		return Heartbeat{}, fmt.Errorf("at: %w", err)
	}
	return h, nil
}

func isHash(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
