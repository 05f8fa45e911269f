package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"harmony.dev/fleet"
)

// State is what an agent remembers over restarts, so that its workloads run before there is any
// connection and its reports stay what they were.
type State struct {
	Device    fleet.DeviceID `json:"device"`
	Workloads []Stored       `json:"workloads,omitempty"` // sorted by deployment
}

// Stored is one workload of a [State].
type Stored struct {
	Deployment fleet.DeploymentName `json:"deployment"`
	Desired    []byte               `json:"desired,omitempty"`
	Removed    bool                 `json:"removed,omitempty"` // it is to be removed; Desired is absent
	Ran        bool                 `json:"ran,omitempty"`     // Desired is what ran last
	Good       []byte               `json:"good,omitempty"`    // what ran last, when it is another value
	Report     fleet.Report         `json:"report"`
}

// State returns what to store.
func (m *Machine) State() State {
	s := State{Device: m.cfg.Device}
	for _, name := range m.names() {
		w := m.work[name]
		e := Stored{Deployment: name, Removed: w.desired == nil, Report: w.report}
		if w.desired != nil {
			e.Desired = w.desired.bytes
		}
		switch {
		case w.good == nil:
		case w.desired != nil && w.good.hash == w.desired.hash:
			e.Ran = true
		default:
			e.Good = w.good.bytes
		}
		s.Workloads = append(s.Workloads, e)
	}
	return s
}

// restore takes up the workloads of an earlier life.
func (m *Machine) restore(s State, now time.Time) {
	for _, e := range s.Workloads {
		w := &workload{name: e.Deployment, report: e.Report, todo: true}
		m.work[e.Deployment] = w
		if len(e.Good) > 0 {
			w.good = newValue(e.Good)
		}
		if e.Removed {
			continue
		}
		w.desired = newValue(e.Desired)
		w.todo = w.desired.check() == nil
		if e.Ran {
			w.good = w.desired
		}
		w.restore = w.good != nil
		if w.report.ObservedHash != w.desired.hash {
			m.say(now, w, fleet.PhasePending, "")
		}
		if w.todo && w.report.Phase != fleet.PhasePending {
			w.hold = now.Add(m.cfg.ResumeGrace)
		}
	}
}

// stateFile is a State with a checksum: a disk may lie.
type stateFile struct {
	Format int             `json:"format"`
	SHA256 string          `json:"sha256"` // of the bytes of State
	State  json.RawMessage `json:"state"`
}

const stateFormat = 1

// EncodeState returns the bytes to store.
func EncodeState(s State) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode state of %s: %w", s.Device, err)
	}
	b, err := json.Marshal(stateFile{Format: stateFormat, SHA256: sum(body), State: body})
	if err != nil {
		return nil, fmt.Errorf("encode state of %s: %w", s.Device, err)
	}
	return append(b, '\n'), nil
}

// DecodeState is the inverse of [EncodeState] for one device. Errors wrap [fleet.ErrInvalid].
func DecodeState(device fleet.DeviceID, b []byte) (State, error) {
	var f stateFile
	if err := json.Unmarshal(b, &f); err != nil {
		return State{}, fmt.Errorf("%w: parse stored state: %w", fleet.ErrInvalid, err)
	}
	if f.Format != stateFormat {
		return State{}, fmt.Errorf("%w: stored state has format %d, not %d", fleet.ErrInvalid, f.Format, stateFormat)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, f.State); err != nil || sum(body.Bytes()) != f.SHA256 {
		return State{}, fmt.Errorf("%w: stored state does not match its checksum", fleet.ErrInvalid)
	}
	var s State
	if err := json.Unmarshal(f.State, &s); err != nil {
		return State{}, fmt.Errorf("%w: parse stored state: %w", fleet.ErrInvalid, err)
	}
	return s, s.validate(device)
}

func (s State) validate(device fleet.DeviceID) error {
	if s.Device != device {
		return fmt.Errorf("%w: stored state is of device %.80q, not %s", fleet.ErrInvalid, s.Device, device)
	}
	for _, w := range s.Workloads {
		if err := w.Deployment.Validate(); err != nil {
			return fmt.Errorf("stored workload: %w", err)
		}
		if err := w.Report.Validate(); err != nil {
			return fmt.Errorf("stored report of %s: %w", w.Deployment, err)
		}
	}
	return nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
