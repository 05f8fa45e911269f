package view

import (
	"errors"
	"log/slog"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/reconciler/plan"
)

// source is one bucket of the view: a [kv.View] that translates messages for the state. Its fields are
// under the lock of the view.
type source struct {
	view      *View
	reflector *kv.Reflector
	aside     *kv.Aside
	stamps    *kv.Clock // what the stream's messages say of the time
	apply     func(*plan.State, plan.Message, time.Time) error

	synced  bool
	pass    kv.Pass
	seq     uint64
	reached uint64    // the last sequence seen, over passes
	young   time.Time // since when the stream is what it is: it was created, set back, or first made whole then
	unwhole bool      // of the mirror: it was not whole when it was last looked at
}

func (v *View) newSource(b *kv.Bucket, own bool, log *slog.Logger, apply func(*plan.State, plan.Message, time.Time) error) *source {
	s := &source{view: v, aside: kv.NewAside(b.Name(), log), stamps: v.clock.stream(), apply: apply}
	s.reflector = kv.NewReflector(kv.ReflectorConfig{Bucket: b, Own: own, View: s, Log: log})
	return s
}

// Begin implements [kv.View].
func (s *source) Begin(p kv.Pass) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.synced, s.pass, s.seq = false, p, 0
	s.aside.Reset()
	wentBack := p.Barrier < s.reached
	s.reached = p.Barrier
	if s.young = newest(s.young, p.Created); p.NewIncarnation {
		s.young = newest(s.young, s.view.clock.Now())
	}
	if s == s.view.desired {
		s.view.state.Restored(p.Restored)
		if p.NewIncarnation {
			s.view.state.Lose(s.young)
		}
	}
	if s == s.view.mirror {
		s.view.state.Reread()
		if wentBack {
			s.view.state.SetBack()
		}
	}
	s.view.notify()
}

// Apply implements [kv.View].
func (s *source) Apply(m kv.Message) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	if m.Op != kv.Swept {
		s.observe(m.Time)
		s.seq = max(s.seq, m.Revision)
		s.reached = max(s.reached, m.Revision)
	}
	err := s.apply(s.view.state, translate(m), s.view.clock.Now())
	s.mature()
	if aside, ok := errors.AsType[*plan.Aside](err); ok {
		s.aside.Add(m, aside.Err, aside.Kept)
	} else {
		s.aside.Clear(m.Key)
	}
	s.view.notify()
}

// observe takes in the stamp of a message. When the time jumps with it, none has passed: what waits for a quiet mirror
// waits anew, and the streams are as young as before. Until the time is sure it may be one that is long past, and then
// how old the streams are is seen only now.
func (s *source) observe(stamp time.Time) {
	v, sure := s.view, s.view.clock.sure
	jump := v.clock.observe(s.stamps, stamp, s.synced)
	if jump == 0 {
		return
	}
	if !sure {
		v.state.Woke(v.clock.Now())
		return
	}
	v.state.Jumped(v.clock.Now(), jump)
	v.log.Warn("the servers' clock jumped: what waits for a quiet mirror waits anew", "jump", jump)
	v.mirror.young, v.desired.young = v.mirror.young.Add(jump), v.lastLoss().Add(jump)
}

// Synced implements [kv.View].
func (s *source) Synced(p kv.Pass) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.synced, s.seq = true, max(s.seq, p.Barrier)
	if s == s.view.mirror {
		s.view.state.Stir(s.view.clock.Now())
	}
	s.mature()
	s.view.notify()
}

// mature takes note of a mirror that becomes whole before our eyes: only from then on can anything be concluded from what
// is not in it. In an outage of the apiserver a new mirror would be old before it has its first entry.
func (s *source) mature() {
	if s != s.view.mirror || !s.synced {
		return
	}
	unwhole := !s.view.state.MirrorWhole()
	if s.unwhole && !unwhole {
		s.young = newest(s.young, s.view.clock.Now())
	}
	s.unwhole = unwhole
}

// Lost implements [kv.View].
func (s *source) Lost(error) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.synced = false
	s.view.notify()
}

func (s *source) health() fleet.Source {
	got := s.reflector.Source()
	s.aside.Fill(&got)
	return got
}

// translate gives the state what it needs of a message.
func translate(m kv.Message) plan.Message {
	t := plan.Message{Key: m.Key, Value: m.Value, Revision: m.Revision, Time: m.Time, Own: m.Epoch() != 0}
	switch m.Op {
	case kv.Put:
		t.Op = plan.Put
	case kv.Delete, kv.Purge:
		t.Op = plan.Marker
	case kv.Expired:
		t.Op = plan.Expired
	case kv.Swept:
		t.Op, t.Own = plan.Gone, false
	}
	if t.Op == plan.Marker && m.Header != nil {
		t.Cause = fleet.Cause(m.Header.Get(fleet.HeaderCause))
	}
	return t
}
