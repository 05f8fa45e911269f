package protocol

import (
	"maps"
	"time"

	"harmony.dev/fleet"
)

// maxPages bounds a snapshot: 64 MiB.
const maxPages = 128

// incompleteOften is how many times as often a device asks whose last snapshot was incomplete: what was left out
// of it may come without a message.
const incompleteOften = 4

// urgeMemory is for how long requests out of turn make the next one wait longer.
const urgeMemory = time.Minute

// asking is the state of the conversation with the reconciler.
type asking struct {
	id    uint64    // of the request under way; 0 = none
	at    time.Time // when to ask next; zero = not before something happens
	sent  time.Time // when the last snapshot was begun
	again bool      // something happened during the request that its answer may not know

	spoiled bool // live messages that the answer may not know were dropped: it must not be taken over

	failures int       // unanswered requests in a row
	urges    int       // requests out of turn, lately
	urged    time.Time // the last one

	pages   int
	asOf    uint64                          // of the first page
	whole   bool                            // every page so far is complete
	entries values                          // of the pages so far
	newer   map[fleet.DeploymentName]uint64 // sequences of entries that are younger than the first page
	asked   values                          // what the digest of the request is about
}

// askNow begins a new snapshot, unless one is under way: then another follows it.
func (m *Machine) askNow(now time.Time) {
	if m.ask.id != 0 {
		m.ask.again = true
		return
	}
	a := &m.ask
	a.at, a.sent, a.again, a.spoiled = time.Time{}, now, false, false
	a.pages, a.whole, a.entries = 0, true, values{}
	a.newer = map[fleet.DeploymentName]uint64{}
	a.asked = m.desired()
	m.request(fleet.SnapshotRequest{Digest: a.asked.digest()})
}

func (m *Machine) request(r fleet.SnapshotRequest) {
	m.ask.id = m.nextID()
	m.do(Ask{ID: m.ask.id, Request: r})
}

// askSoon asks out of turn: at once, but ever more slowly when there is reason again and again.
func (m *Machine) askSoon(now time.Time) {
	a := &m.ask
	if !m.online {
		return
	}
	if a.id != 0 {
		a.again = true
		return
	}
	if !m.syncAt.IsZero() && m.syncAt.Sub(now) <= m.cfg.ConnectJitter {
		return // it asks, too
	}
	if now.Sub(a.urged) > urgeMemory {
		a.urges = 0
	}
	at := now
	if !a.sent.IsZero() {
		at = later(now, a.sent.Add(m.cfg.Ask.delay(a.urges+1, m.rng)))
	}
	if a.at.IsZero() || at.Before(a.at) {
		a.at, a.urged = at, now
		a.urges++
	}
}

func (m *Machine) askFailed(now time.Time, e AskFailed) {
	if e.ID != m.ask.id {
		return
	}
	m.note(NoteAskFailed, "", e.Err)
	m.askAfterFailure(now)
}

func (m *Machine) askAfterFailure(now time.Time) {
	a := &m.ask
	a.id, a.again, a.entries, a.asked = 0, false, nil, nil
	a.failures++
	a.at = now.Add(m.cfg.Ask.delay(a.failures, m.rng))
}

func (m *Machine) pageGot(now time.Time, e PageGot) {
	a := &m.ask
	if e.ID != a.id {
		return
	}
	if a.spoiled {
		m.note(NoteOverrun, "", "")
		m.askAfterFailure(now)
		return
	}
	p := e.Page
	if err := checkPage(p); err != nil {
		m.note(NoteBadSnapshot, "", err.Error())
		m.askAfterFailure(now)
		return
	}
	a.pages++
	if a.pages == 1 {
		a.asOf = p.AsOf
	}
	// The bucket changed its incarnation or went back between two pages: they do not belong together.
	if p.AsOf < a.asOf || a.pages > 1 && p.Unchanged || a.pages > maxPages {
		m.note(NoteBadSnapshot, "", "pages do not belong together")
		m.askAfterFailure(now)
		return
	}
	a.whole = a.whole && p.Complete
	if p.Unchanged {
		a.entries = a.asked
	}
	for _, s := range p.Entries {
		a.entries[s.Deployment] = newValue(s.Value)
		if s.Sequence > a.asOf {
			a.newer[s.Deployment] = s.Sequence
		}
	}
	if p.Next != "" {
		m.request(fleet.SnapshotRequest{After: p.Next})
		return
	}
	m.install(now)
}

// install takes over a snapshot whose last page has come.
func (m *Machine) install(now time.Time) {
	a := &m.ask
	next := a.entries
	if !a.whole {
		m.note(NoteIncomplete, "", "")
		next = m.desired()
		maps.Copy(next, a.entries)
	}
	again, every := a.again, m.cfg.Resync
	if !a.whole {
		every /= incompleteOften
	}
	a.id, a.again, a.failures, a.entries, a.asked = 0, false, 0, nil, nil
	a.at = now.Add(around(every, 0.5, m.rng))
	m.confirmReports()

	m.basis = basis{valid: true, asOf: a.asOf, last: a.newer}
	again = m.replay(next) || again
	m.become(now, next)
	if again {
		m.askSoon(now)
	}
}

// replay applies the kept live messages above the basis to next. It reports whether there is reason
// to ask again.
func (m *Machine) replay(next values) (again bool) {
	kept := m.kept
	m.kept = nil
	for i, l := range kept {
		if m.basis.old(l) {
			continue
		}
		if m.basis.gap(l) {
			m.note(NoteGap, l.Deployment, "")
			m.basis.valid, m.kept = false, kept[i:]
			return true
		}
		m.basis.saw(l)
		switch judge(l) {
		case obeyPut:
			next[l.Deployment] = newValue(l.Value)
		case obeyDelete:
			delete(next, l.Deployment)
		case foreign:
			m.note(NoteForeign, l.Deployment, "")
			again = true
		case expired:
			again = m.missedExpiry(l, next) || again
		}
	}
	return again
}

// missedExpiry reports whether the server dropped a key that is wanted. After the marker of a delete has
// expired there is nothing to ask about.
func (m *Machine) missedExpiry(l Live, wanted values) bool {
	if _, ok := wanted[l.Deployment]; !ok {
		return false
	}
	m.note(NoteExpired, l.Deployment, "")
	return true
}
