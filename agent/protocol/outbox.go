package protocol

import (
	"encoding/json"
	"time"

	"harmony.dev/fleet"
)

// slot is the way of one key's value to the server: one publish under way at a time, the latest value
// wins, repeated until acknowledged.
type slot struct {
	dirty    bool   // the latest value is not under way nor acknowledged
	flight   uint64 // ID of the publish under way; 0 = none
	failures int
	retryAt  time.Time
	// unsure means that an earlier value had an unknown outcome: it may still arrive after a later one,
	// by another way through the cluster. The latest is said again once more, later.
	unsure bool
}

// due reports whether the slot has something to send at now.
func (s *slot) due(now time.Time) bool {
	return s.dirty && s.flight == 0 && !now.Before(s.retryAt)
}

// wait says when the slot is due; ok is false when it is not waiting for time to pass.
func (s *slot) wait() (t time.Time, ok bool) { return s.retryAt, s.dirty && s.flight == 0 }

// cut ends the publish under way with its connection.
func (s *slot) cut() {
	if s.flight != 0 {
		s.flight, s.dirty, s.unsure = 0, true, true
	}
	s.failures, s.retryAt = 0, time.Time{}
}

func (m *Machine) send(s *slot, bucket, key string, b []byte) {
	s.flight, s.dirty = m.nextID(), false
	m.do(Publish{ID: s.flight, Bucket: bucket, Key: key, Value: b})
}

// flush publishes what is due.
func (m *Machine) flush(now time.Time) {
	if !m.online {
		return
	}
	device := m.cfg.Device
	if m.info.due(now) {
		m.send(&m.info, fleet.BucketDeviceInfo, fleet.InfoKey(device), document(m.cfg.Info))
	}
	if m.beat.due(now) {
		m.send(&m.beat, fleet.BucketDeviceHeartbeat, fleet.HeartbeatKey(device), document(fleet.Heartbeat{At: stamp(now)}))
	}
	for _, name := range m.names() {
		if w := m.work[name]; w.hold.IsZero() && w.slot.due(now) {
			key := fleet.StateKey(fleet.Pair{Device: device, Deployment: name})
			m.send(&w.slot, fleet.BucketDeviceState, key, reportBytes(w.report))
		}
	}
}

// document encodes a value of the contract, which always can be.
func document(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}

// reportBytes encodes a report as its readers want it: with a message that is cut to size, and plain
// text, which they read fastest.
func reportBytes(r fleet.Report) []byte {
	b, err := fleet.EncodeReport(r)
	if err != nil {
		return document(r) // a reader says what is wrong with it
	}
	return b
}

func (m *Machine) published(now time.Time, e Published) {
	s, w := m.inFlight(e.ID)
	if s == nil {
		return
	}
	s.flight = 0
	if e.Outcome != Acknowledged {
		s.dirty = true
		s.unsure = s.unsure || e.Outcome == Unknown
		s.failures++
		s.retryAt = now.Add(m.cfg.Publish.delay(s.failures, m.rng))
		return
	}
	s.failures, s.retryAt = 0, time.Time{}
	if w != nil && w.gone && !s.dirty && !s.unsure { // an older report that came later would never be corrected
		delete(m.work, w.name)
		m.changed = true
	}
}

// inFlight finds the slot of a publish, and its workload if it has one.
func (m *Machine) inFlight(id uint64) (*slot, *workload) {
	switch id {
	case 0:
		return nil, nil
	case m.info.flight:
		return &m.info, nil
	case m.beat.flight:
		return &m.beat, nil
	}
	for _, w := range m.work {
		if w.slot.flight == id {
			return &w.slot, w
		}
	}
	return nil, nil
}

// republish says everything again.
func (m *Machine) republish(now time.Time) {
	m.info.dirty, m.beat.dirty = true, true
	m.info.retryAt, m.beat.retryAt = time.Time{}, time.Time{}
	m.beatAt = now.Add(around(m.cfg.Heartbeat, 0.2, m.rng))
	for _, w := range m.work {
		w.slot.dirty, w.slot.retryAt = true, time.Time{}
	}
}

// confirmReports says again what an older value may have overtaken.
func (m *Machine) confirmReports() {
	for _, w := range m.work {
		if w.slot.unsure {
			w.slot.unsure, w.slot.dirty = false, true
		}
	}
}
