package view

import (
	"fmt"
	"sync"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/resync"
	"harmony.dev/services/aggregator/staleness"
)

// DefaultRebuildFor is how long a bucket that was created anew counts as being rebuilt.
const DefaultRebuildFor = time.Minute

// View is the projection and what it follows from. It is safe for concurrent use.
type View struct {
	config     staleness.Config
	rebuildFor time.Duration
	feeds      []*feed

	mu       sync.Mutex
	clock    *kv.Clock
	state    *projection.State
	judge    *staleness.Judge
	verdict  staleness.Verdict
	patcher  patcher
	arriving bool      // all sources have come into view, and the judge has not looked since
	states   time.Time // when the bucket was created, or emptied
	desired  time.Time
	announce *resync.Announcer
}

// patcher is what the patcher says of itself in the mirror.
type patcher struct {
	held   bool   // "_lease" has a value
	epoch  uint64 // revision of "_epoch", 0 while it has no value
	synced uint64 // the epoch in "_synced", 0 while it has no good value
}

// whole reports whether the mirror was whole under some epoch.
func (p patcher) whole() bool { return p.synced != 0 }

// serves reports whether a patcher holds its lease and has made the mirror whole under its own epoch:
// only then does it take requests.
func (p patcher) serves() bool { return p.held && p.whole() && p.synced == p.epoch }

// Moment is what goes with the projection at the time of a Read.
type Moment struct {
	Now     time.Time // on the server's clock
	InView  bool      // all sources are synced
	Whole   bool      // … and the mirror says that it is whole: what follows may be written
	Served  bool      // … and that a patcher takes requests
	Epoch   uint64    // under which the mirror was made whole, 0 while it is not whole
	Reason  string    // why it is not in view or not whole
	Verdict staleness.Verdict
	// StatesYoung and DesiredYoung: the bucket was created anew or emptied, and is being rebuilt.
	StatesYoung, DesiredYoung bool
}

// New returns an empty View. Its feeds are given to reflectors by [View.Reflectors]. Now is the own
// clock, of which only the time that passes counts. RebuildFor is how long a new bucket counts as being
// rebuilt.
func New(now func() time.Time, c staleness.Config, rebuildFor time.Duration) *View {
	return &View{
		config: c, rebuildFor: rebuildFor, clock: kv.NewClock(now),
		state: projection.New(), judge: staleness.NewJudge(c), announce: resync.NewAnnouncer(),
	}
}

// Read runs f with the projection as of now. f must be quick and keep nothing of the State.
func (v *View) Read(f func(s *projection.State, m Moment)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(v.state, v.moment())
}

// StaleAfter is the silence after which a device is stale.
func (v *View) StaleAfter() time.Duration { return v.config.StaleAfter }

// InView reports whether all sources are synced.
func (v *View) InView() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lagging() == nil
}

// Announce returns whether all agents are to be asked to resync, because a bucket of theirs is new.
func (v *View) Announce() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.announce.Due(v.clock.Now(), v.state.Missing())
}

// Announced takes note that they were asked.
func (v *View) Announced() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.announce.Done()
}

// moment brings the projection up to now.
func (v *View) moment() Moment {
	m := Moment{Now: v.clock.Now()}
	m.StatesYoung, m.DesiredYoung = m.Now.Sub(v.states) < v.rebuildFor, m.Now.Sub(v.desired) < v.rebuildFor
	if f := v.lagging(); f != nil {
		v.judge.Pause()
		m.Verdict = v.verdict
		m.Reason = fmt.Sprintf("%s is not in view yet", f.bucket)
		return m
	}
	v.look(m.Now)
	m.InView, m.Whole, m.Served, m.Verdict = true, v.patcher.whole(), v.patcher.serves(), v.verdict
	m.Epoch = v.patcher.synced
	if !m.Whole {
		m.Reason = fmt.Sprintf("%s is being rebuilt by %s", fleet.BucketResources, fleet.ServicePatcher)
	}
	return m
}

// lagging returns a feed that is not synced, nil when all are.
func (v *View) lagging() *feed {
	for _, f := range v.feeds {
		if !f.synced {
			return f
		}
	}
	return nil
}

// look lets the judge look at the fleet.
func (v *View) look(now time.Time) {
	heard := staleness.Fleet{Newest: v.state.Newest(), Known: v.state.Known()}
	if v.arriving {
		v.arriving = false
		if gap, ok := staleness.Unseen(v.config, heard.Newest, v.beats()); ok {
			v.judge.Spare(gap)
		}
	}
	was := v.verdict
	v.verdict = v.judge.Look(now, heard)
	v.state.SetCutoff(v.verdict.Cutoff)
	if v.verdict.Silent != was.Silent {
		v.state.MarkAllDirty()
	}
	if v.verdict.Incident() != was.Incident() {
		v.state.MarkAllChanged()
	}
}

func (v *View) beats() []staleness.Beat {
	beats := make([]staleness.Beat, 0, v.state.Known())
	for b := range v.state.Beats() {
		beats = append(beats, staleness.Beat{Revision: b.Revision, At: b.At})
	}
	return beats
}

// begin takes note that a feed starts from the beginning.
func (v *View) begin(f *feed, p kv.Pass) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f.synced = false
	v.clock.Observe(p.Created)
	v.date(f, p.Created)
	if f.announced {
		v.announce.Note(v.clock.Now(), f.bucket, p.Created)
	}
	if f.bucket == fleet.BucketDeviceInfo {
		v.state.DoubtInfos(p.Restored)
	}
	if f.bucket == fleet.BucketDeviceState && p.NewIncarnation {
		v.state.DoubtReports(0) // revisions are others now
	}
}

// empty takes note that a pass found much of a bucket gone. What is lost is the same as with a new one, and what is
// left may be old.
func (v *View) empty(f *feed, p kv.Pass) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.clock.Now()
	f.emptied = now
	v.date(f, now)
	if f.bucket == fleet.BucketDeviceState {
		v.state.DoubtReports(p.Barrier)
	}
	if f.announced {
		v.announce.Lost(now)
	}
}

// date says since when a bucket can have what is in it.
func (v *View) date(f *feed, created time.Time) {
	if f.emptied.After(created) {
		created = f.emptied
	}
	switch f.bucket {
	case fleet.BucketDeviceHeartbeat:
		v.state.SetHeartbeatsSince(created)
	case fleet.BucketDeviceState:
		v.states = created
	case fleet.BucketDesiredState:
		v.desired = created
	}
}

// settle takes note of whether a feed is in step.
func (v *View) settle(f *feed, synced bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f.synced = synced
	if synced && f.bucket == fleet.BucketDeviceState {
		v.state.AwaitNothing() // of what was read from the beginning
	}
	if synced && v.lagging() == nil {
		v.arriving = true
	}
}

// observe takes in a server's stamp.
func (v *View) observe(stamp time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clock.Observe(stamp)
}

// change runs f with the projection, which does not need to be up to now.
func (v *View) change(f func(*projection.State)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(v.state)
}
