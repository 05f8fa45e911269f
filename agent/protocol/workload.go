package protocol

import (
	"time"

	"harmony.dev/fleet"
)

// workload is one deployment on the device, from the first wish for it until its removal is known to
// the server.
type workload struct {
	name    fleet.DeploymentName
	desired *value // nil: it is to go
	good    *value // what the runtime ran last; nil: nothing, as far as the agent knows

	restore bool   // the agent was restarted, and the runtime has not taken a value since
	todo    bool   // the runtime has not been given desired (or its absence) yet
	busy    task   // what the runtime is doing
	given   *value // what it is doing it with, while applying
	stop    bool   // the Apply under way was interrupted

	retry   retry // of desired, or its absence
	revival retry // of good, while it is to be restored

	report fleet.Report
	slot   slot
	hold   time.Time // the report waits until then for the runtime's word; zero = it does not wait
	gone   bool      // removed; what is left is to say so
}

// retry is when to try again what the runtime failed to do.
type retry struct {
	failures int       // in a row
	at       time.Time // zero = not after a failure
}

// task is what the runtime is doing with a workload.
type task uint8

const (
	idle task = iota
	applying
	removing
)

// wanted makes v what is desired. The caller reports.
func (w *workload) wanted(v *value) {
	if w.good != nil && w.good.hash == v.hash {
		v = w.good // not to be revived beside itself
	}
	w.desired, w.gone, w.hold = v, false, time.Time{}
	w.todo = v.check() == nil
	w.retry = retry{}
}

func (w *workload) unwanted() {
	w.desired, w.restore, w.todo, w.hold = nil, false, true, time.Time{}
	w.retry = retry{}
}

// reviving reports whether good is to be brought back after a restart: desired is another value, of which
// nobody knows whether it will ever run.
func (w *workload) reviving() bool { return w.restore && w.good != w.desired }

// next says what the runtime is to do now, and with which value.
func (w *workload) next(now time.Time) (task, *value) {
	switch {
	case w.busy != idle:
		return idle, nil
	case w.reviving() && !now.Before(w.revival.at):
		return applying, w.good
	case !w.todo && !passed(w.retry.at, now):
		return idle, nil
	case w.desired == nil:
		return removing, nil
	}
	return applying, w.desired
}

// interrupt cancels an Apply under way: its value is no longer wanted.
func (m *Machine) interrupt(w *workload) {
	if w.busy == applying && !w.stop {
		w.stop = true
		m.do(Interrupt{Deployment: w.name})
	}
}

// drive gives the runtime what it is to do with w.
func (m *Machine) drive(now time.Time, w *workload) {
	task, v := w.next(now)
	switch task {
	case idle:
		return
	case removing:
		m.do(Remove{Deployment: w.name})
	case applying:
		d, err := fleet.DecodeDesired(v.bytes)
		if err != nil { // only a stored value that was good once: there is nothing to go back to
			w.restore, w.good = false, nil
			return
		}
		m.do(Apply{Deployment: w.name, Hash: v.hash, Desired: d})
	}
	if v == w.desired {
		w.todo, w.retry.at = false, time.Time{}
	}
	w.busy, w.given, w.stop = task, v, false
}

func (m *Machine) applied(now time.Time, e Applied) {
	w := m.work[e.Deployment]
	if w == nil || w.busy != applying {
		return
	}
	v := w.given
	w.busy, w.given = idle, nil
	switch {
	case e.Err == "":
		w.good, w.restore = v, false
		m.changed = true
	case v == w.good && w.reviving():
		m.notRevived(now, w, e.Err)
	}
	if w.desired != v || w.todo {
		return // about something else than what is wanted now
	}
	w.hold = time.Time{}
	if e.Err == "" {
		w.retry.failures = 0
		m.say(now, w, fleet.PhaseRunning, "")
		return
	}
	m.note(NoteApplyFailed, w.name, e.Err)
	m.tryAgain(now, &w.retry)
	m.say(now, w, fleet.PhaseFailed, e.Err)
}

// notRevived goes on trying: until something runs, a malformed or failing wish must not end what ran before
// the restart. An interrupted try counts as one, so that what is desired now comes first.
func (m *Machine) notRevived(now time.Time, w *workload, failure string) {
	if !w.stop {
		m.note(NoteNotRevived, w.name, failure)
	}
	m.tryAgain(now, &w.revival)
}

func (m *Machine) removed(now time.Time, e Removed) {
	w := m.work[e.Deployment]
	if w == nil || w.busy != removing {
		return
	}
	w.busy = idle
	if e.Err != "" {
		m.note(NoteNotRemoved, w.name, e.Err)
		if w.desired == nil {
			m.tryAgain(now, &w.retry)
		}
		return
	}
	w.good = nil
	m.changed = true
	if w.desired == nil {
		w.gone = true
		m.sayOf(now, w, w.report.ObservedHash, fleet.PhasePending, "")
	}
}

func (m *Machine) tryAgain(now time.Time, r *retry) {
	r.failures++
	r.at = now.Add(m.cfg.Runtime.delay(r.failures, m.rng))
}

func (m *Machine) observed(now time.Time, e Observed) {
	w := m.work[e.Deployment]
	if w == nil || w.desired == nil || w.busy != idle || w.todo || w.good != w.desired {
		return
	}
	if e.Err == "" {
		m.say(now, w, fleet.PhaseRunning, "")
		return
	}
	m.say(now, w, fleet.PhaseFailed, e.Err)
}

// say reports on what is desired.
func (m *Machine) say(now time.Time, w *workload, p fleet.Phase, failure string) {
	m.sayOf(now, w, w.desired.hash, p, failure)
}

// sayOf makes a report, unless it is the last one again: its time is that of the change.
func (m *Machine) sayOf(now time.Time, w *workload, hash string, p fleet.Phase, failure string) {
	failure = fleet.ClipError(failure)
	if w.report.Phase == p && w.report.ObservedHash == hash && w.report.LastError == failure {
		return
	}
	w.report = fleet.Report{Phase: p, ObservedHash: hash, LastEventAt: stamp(now), LastError: failure}
	w.slot.dirty = true
	m.changed = true
}

func stamp(now time.Time) string { return now.UTC().Format(time.RFC3339Nano) }
