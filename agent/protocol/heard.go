package protocol

import (
	"time"

	"harmony.dev/fleet"
)

// maxKept bounds the live messages kept while there is no basis or a request is under way.
const maxKept = 256

// heard takes a live message.
func (m *Machine) heard(now time.Time, l Live) {
	if !m.online {
		return
	}
	if !m.basis.valid {
		m.keep(l)
		m.askSoon(now)
		return
	}
	if m.basis.old(l) || m.basis.gap(l) {
		m.note(NoteGap, l.Deployment, "")
		m.doubt(now)
		m.keep(l)
		return
	}
	if m.ask.id != 0 {
		m.keep(l)
	}
	m.basis.saw(l)
	m.obey(now, l)
}

func (m *Machine) obey(now time.Time, l Live) {
	switch judge(l) {
	case obeyPut:
		m.want(now, l.Deployment, newValue(l.Value))
	case obeyDelete:
		m.unwant(l.Deployment)
	case foreign:
		m.note(NoteForeign, l.Deployment, "")
		m.askSoon(now)
	case expired:
		if m.missedExpiry(l, m.desired()) {
			m.askSoon(now)
		}
	}
}

// doubt gives up the basis: something may have been missed.
func (m *Machine) doubt(now time.Time) {
	m.basis.valid = false
	m.askSoon(now)
}

// keep stores a message until the next snapshot is there. When there are too many, the snapshot under way
// is worth nothing: it may be older than those that are dropped. One that is asked for later knows them.
func (m *Machine) keep(l Live) {
	if len(m.kept) == maxKept {
		m.kept = nil
		m.ask.spoiled = true
	}
	m.kept = append(m.kept, l)
}

// become makes next all that is wanted.
func (m *Machine) become(now time.Time, next values) {
	for _, name := range m.names() {
		if _, ok := next[name]; !ok {
			m.unwant(name)
		}
	}
	for _, name := range next.names() {
		m.want(now, name, next[name])
	}
}

// desired returns what is wanted now.
func (m *Machine) desired() values {
	all := make(values, len(m.work))
	for name, w := range m.work {
		if w.desired != nil {
			all[name] = w.desired
		}
	}
	return all
}

func (m *Machine) want(now time.Time, name fleet.DeploymentName, v *value) {
	w := m.work[name]
	if w == nil {
		w = &workload{name: name}
		m.work[name] = w
	}
	if w.desired != nil && w.desired.hash == v.hash {
		return
	}
	w.wanted(v)
	if err := v.check(); err != nil {
		m.note(NoteMalformed, name, err.Error())
		m.say(now, w, fleet.PhaseFailed, "desired state is malformed: "+err.Error())
	} else {
		m.interrupt(w)
		m.say(now, w, fleet.PhasePending, "")
	}
	m.changed = true
}

func (m *Machine) unwant(name fleet.DeploymentName) {
	w := m.work[name]
	if w == nil || w.desired == nil {
		return
	}
	w.unwanted()
	m.interrupt(w)
	m.changed = true
}
