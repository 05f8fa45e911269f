package plan

import (
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/selector"
)

// State is what the two buckets hold, as last seen, and what follows from it. Make one with [New] and
// feed it with [State.ApplyMirror] and [State.ApplyDesired].
type State struct {
	brake  Brake
	mirror mirror

	deployments map[fleet.DeploymentName]*deployment
	devices     map[fleet.DeviceID]*device
	selectors   *selector.Index[*deployment] // of live, valid Deployments
	values      values

	keys     int                                // pairs stored
	recent   map[fleet.Pair]time.Time           // doubtful deletes still visible as markers, by the server's stamp
	hold     *fleet.Hold                        // as stored
	holdAt   uint64                             // revision of what is stored
	voidAt   uint64                             // a hold of this revision is of a mirror that went back; 0: none is
	unheld   bool                               // _hold was overwritten or deleted by somebody else: to be written again
	busy     map[*deployment]struct{}           // those that are not at rest: Compute looks at these alone
	lost     time.Time                          // when values were last found to be gone without a message
	older    map[*pair]struct{}                 // their values came with a backup, and nothing has said since that they are wanted
	unmade   map[*deployment]struct{}           // those that are stuck and may lack keys, see isUnmade
	sound    map[*deployment]struct{}           // those that are stuck and not unmade
	losses   uint64                             // of desired-state, see Lose
	restored uint64                             // up to this sequence desired-state came with a backup
	ending   map[*deployment]struct{}           // live and deleting
	leaver   map[*device]struct{}               // live and deleting
	alive    struct{ deployments, devices int } // live and not deleting
}

// mirror is what fleet-resources says of itself.
type mirror struct {
	reading   bool         // it is being read anew: what comes may be old
	setBack   bool         // it is an earlier state of itself, until a patcher vouches for it
	epoch     uint64       // revision of _epoch; 0 means none
	epochTerm string       // in which it was taken
	synced    fleet.Synced // zero means none
	syncedAt  uint64       // revision of _synced
	alive     bool         // _lease was written since the mirror was read, and has not ended since
	leaseTerm string       // in which it was written
	stirred   time.Time    // last message under a key without "_"
	confirmed time.Time    // since when deletes are allowed
}

// whole reports whether the mirror was whole at some time, and has not been set back since: puts need that.
func (m *mirror) whole() bool { return m.synced.Epoch != 0 && !m.setBack }

// vouched reports whether a patcher stands behind the mirror now: deletes need that, and so do answers from which a
// device concludes what it is not to run. The mirror is whole under its own last epoch, and who took that epoch
// has been seen to renew its lease since the mirror was read. What is in the bucket proves nothing by itself: an
// old backup holds an epoch and a lease, too. Nor do stamps, when the clocks of servers differ.
func (m *mirror) vouched() bool {
	return m.synced.Epoch != 0 && m.synced.Epoch == m.epoch && m.alive && m.leaseTerm == m.epochTerm
}

// New returns the state of two empty buckets.
func New(b Brake) *State {
	return &State{
		brake:       b,
		deployments: map[fleet.DeploymentName]*deployment{},
		devices:     map[fleet.DeviceID]*device{},
		selectors:   selector.NewIndex[*deployment](),
		values:      values{},
		recent:      map[fleet.Pair]time.Time{},
		older:       map[*pair]struct{}{},
		busy:        map[*deployment]struct{}{},
		unmade:      map[*deployment]struct{}{},
		sound:       map[*deployment]struct{}{},
		ending:      map[*deployment]struct{}{},
		leaver:      map[*device]struct{}{},
	}
}

// Keys returns how many pairs desired-state holds.
func (s *State) Keys() int { return s.keys }

// Hold returns the hold in the bucket; ok is false when there is none.
func (s *State) Hold() (h fleet.Hold, ok bool) {
	if s.hold == nil {
		return fleet.Hold{}, false
	}
	return *s.hold, true
}

// MirrorWhole reports whether the mirror has been whole, and not been set back since: without that nothing
// is planned and nobody is answered.
func (s *State) MirrorWhole() bool { return s.mirror.whole() }

// Reread says that the mirror is about to be read anew. What comes may be old until [State.Stir].
func (s *State) Reread() { s.mirror.reading, s.mirror.alive = true, false }

// SetBack says that the mirror about to be read is an older one than was read before, as after the restore of
// a backup. What was deleted since is in it, and would be carried out again: nothing is believed until a
// patcher vouches for it. Its revisions are used again, so that those in a hold say nothing any more.
func (s *State) SetBack() {
	s.mirror.setBack = true
	s.voidHold()
}

// voidHold ends what the stored hold says of the mirror, until it is written again. It may be read again before.
func (s *State) voidHold() {
	if s.hold == nil {
		return
	}
	h := *s.hold
	h.UpTo, h.Approved = 0, false
	s.hold, s.unheld, s.voidAt = &h, true, s.holdAt
}

// Stir says that the mirror was read anew: whatever waits for it to be quiet waits from this time on.
func (s *State) Stir(at time.Time) { s.mirror.reading, s.mirror.stirred = false, at }

// Woke says that it is not known for how long the mirror has been quiet: what waits for that waits anew.
func (s *State) Woke(at time.Time) { s.mirror.stirred, s.mirror.confirmed = at, at }

// Jumped says that the clock of the servers has gone on by so much while no time has passed: what waits for a quiet mirror
// waits anew, and deletes are no older than before.
func (s *State) Jumped(at time.Time, by time.Duration) {
	s.Woke(at)
	for pair, deleted := range s.recent {
		s.recent[pair] = deleted.Add(by)
	}
}

// Restored says up to which sequence desired-state, about to be read anew, came with a backup: what it wishes for may have
// been deleted before that was restored, until the mirror has said that it is wanted.
func (s *State) Restored(upTo uint64) { s.restored = upTo }

// Lose says that values of desired-state are gone without a message, maybe also some that never were in view: it was
// set back, or purged. What is stuck may have lost keys that nobody can make again.
func (s *State) Lose(at time.Time) {
	s.lost = at
	s.losses++
	for p := range s.sound {
		s.rest(p)
	}
}

// Lost returns when values were last found to be gone without a message, as after a purge; zero means never.
func (s *State) Lost() time.Time { return s.lost }

func (s *State) deployment(name fleet.DeploymentName) *deployment {
	p := s.deployments[name]
	if p == nil {
		p = &deployment{name: name, pairs: map[*device]*pair{}}
		s.deployments[name] = p
	}
	return p
}

func (s *State) device(id fleet.DeviceID) *device {
	d := s.devices[id]
	if d == nil {
		d = &device{id: id}
		s.devices[id] = d
	}
	return d
}

// release forgets what is absent and has nothing stored, so that memory follows the buckets.
func (s *State) release(p *deployment, d *device) {
	if p != nil && p.presence == absent && len(p.pairs) == 0 && p.applied == nil && !p.unapplied {
		delete(s.deployments, p.name)
		delete(s.busy, p)
	}
	if d != nil && d.presence == absent && len(d.pairs) == 0 {
		delete(s.devices, d.id)
	}
}
