package protocol

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"harmony.dev/fleet"
)

// Machine is the state of one agent. It is not safe for concurrent use.
type Machine struct {
	cfg    Config
	rng    *rand.Rand
	lastID uint64

	online bool
	syncAt time.Time // when to say and ask everything; zero = not wanted
	basis  basis
	ask    asking
	kept   []Live // live messages to be judged after the next snapshot

	work map[fleet.DeploymentName]*workload

	info   slot
	beat   slot
	beatAt time.Time

	actions []Action // of the step under way
	changed bool     // State is to be saved
}

// New returns an agent that remembers what it was to run. An invalid config is an error.
func New(cfg Config, s State, now time.Time) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Machine{
		cfg:  cfg.withDefaults(),
		rng:  rand.New(rand.NewPCG(cfg.Seed, 0)),
		work: map[fleet.DeploymentName]*workload{},
	}
	m.restore(s, now)
	return m, nil
}

// Step takes in one event and returns what is to be done, in order. Time must not go back by much: waits
// are measured with it.
func (m *Machine) Step(now time.Time, e Event) []Action {
	m.take(now, e)
	m.run(now)
	if m.changed {
		m.changed = false
		m.do(Save{})
	}
	actions := m.actions
	m.actions = nil
	return actions
}

func (m *Machine) take(now time.Time, e Event) {
	switch e := e.(type) {
	case Started, Tick:
	case Connected:
		m.connected(now)
	case Disconnected:
		m.disconnected()
	case Lost:
		m.doubt(now)
	case ResyncAsked:
		m.syncWithin(now, m.cfg.ResyncJitter)
	case Live:
		m.heard(now, e)
	case PageGot:
		m.pageGot(now, e)
	case AskFailed:
		m.askFailed(now, e)
	case Published:
		m.published(now, e)
	case Applied:
		m.applied(now, e)
	case Removed:
		m.removed(now, e)
	case Observed:
		m.observed(now, e)
	case InfoChanged:
		m.cfg.Info = e.Info
		m.info.dirty = true
	}
}

// run does everything that is due.
func (m *Machine) run(now time.Time) {
	for _, name := range m.names() {
		w := m.work[name]
		m.giveUpHold(now, w)
		m.drive(now, w)
	}
	if !m.online {
		return
	}
	if passed(m.syncAt, now) {
		m.syncAt = time.Time{}
		m.republish(now)
		m.askNow(now)
	}
	if passed(m.ask.at, now) {
		m.ask.at = time.Time{}
		m.askNow(now)
	}
	if passed(m.beatAt, now) {
		m.beatAt = now.Add(around(m.cfg.Heartbeat, 0.2, m.rng))
		m.beat.dirty = true
	}
	m.flush(now)
}

// giveUpHold reports a workload as pending when the runtime has said nothing for too long after a start.
func (m *Machine) giveUpHold(now time.Time, w *workload) {
	if passed(w.hold, now) {
		w.hold = time.Time{}
		m.say(now, w, fleet.PhasePending, "")
	}
}

func (m *Machine) connected(now time.Time) {
	m.disconnected()
	m.online = true
	m.syncWithin(now, m.cfg.ConnectJitter)
}

func (m *Machine) disconnected() {
	m.online = false
	m.syncAt, m.beatAt = time.Time{}, time.Time{}
	m.basis, m.kept, m.ask = basis{}, nil, asking{}
	m.info.cut()
	m.beat.cut()
	for _, w := range m.work {
		w.slot.cut()
	}
}

// syncWithin says and asks everything at a random moment within d.
func (m *Machine) syncWithin(now time.Time, d time.Duration) {
	if !m.online {
		return
	}
	at := now.Add(within(d, m.rng))
	if m.syncAt.IsZero() || at.Before(m.syncAt) {
		m.syncAt = at
	}
}

// Deadline returns when the machine wants a [Tick], and false when it only waits for events.
func (m *Machine) Deadline() (time.Time, bool) {
	var first time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	for _, w := range m.work {
		at(w.hold)
		if w.busy == idle {
			at(w.retry.at)
			if w.reviving() {
				at(w.revival.at)
			}
		}
		m.atSlot(&w.slot, at)
	}
	if m.online {
		at(m.syncAt)
		at(m.ask.at)
		at(m.beatAt)
		m.atSlot(&m.info, at)
		m.atSlot(&m.beat, at)
	}
	return first, !first.IsZero()
}

func (m *Machine) atSlot(s *slot, at func(time.Time)) {
	if t, ok := s.wait(); ok && m.online {
		at(t)
	}
}

func (m *Machine) names() []fleet.DeploymentName { return slices.Sorted(maps.Keys(m.work)) }

func (m *Machine) nextID() uint64 {
	m.lastID++
	return m.lastID
}

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

func (m *Machine) note(text NoteText, d fleet.DeploymentName, err string) {
	m.do(Note{Text: text, Deployment: d, Err: err})
}

func passed(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
