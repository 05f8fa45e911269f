package plan

import (
	"time"

	"harmony.dev/fleet"
)

// ApplyMirror takes in one message of fleet-resources, received at that time. An error is an [*Aside]:
// the message was not obeyed, and everything else is as before.
func (s *State) ApplyMirror(m Message, at time.Time) error {
	if fleet.IsReserved(m.Key) {
		return s.applyMirrorReserved(m, at)
	}
	key, err := fleet.ParseResourceKey(m.Key)
	if err != nil {
		if m.Op != Put {
			return nil
		}
		return &Aside{Err: err}
	}
	s.mirror.stirred = at
	if key.Device != "" {
		return s.applyDevice(s.device(key.Device), m, at)
	}
	return s.applyDeployment(s.deployment(key.Deployment), m, at)
}

func (s *State) applyMirrorReserved(m Message, at time.Time) (err error) {
	was := s.mirror.vouched()
	switch m.Key {
	case fleet.KeyLease:
		err = s.applyLease(m)
	case fleet.KeyEpoch:
		err = s.applyEpoch(m)
	case fleet.KeySynced:
		err = s.applySynced(m)
	}
	if !was && s.mirror.vouched() {
		s.mirror.confirmed, s.mirror.setBack = at, false
		for x := range s.older {
			s.confirm(x)
		}
	}
	return err
}

// confirm takes note that a value which came with a backup is what is wanted now: a mirror that can be trusted says so.
func (s *State) confirm(x *pair) {
	if x.scope == inside && x.action == nothing && s.mirror.vouched() {
		delete(s.older, x)
	}
}

func (s *State) applyLease(m Message) error {
	s.mirror.alive, s.mirror.leaseTerm = false, ""
	if m.Op != Put {
		return nil
	}
	lease, err := fleet.DecodeLease(m.Value)
	if err != nil {
		return &Aside{Err: err}
	}
	s.mirror.alive, s.mirror.leaseTerm = !s.mirror.reading, lease.Term
	return nil
}

func (s *State) applyEpoch(m Message) error {
	s.mirror.epoch, s.mirror.epochTerm = 0, ""
	if m.Op != Put {
		return nil
	}
	epoch, err := fleet.DecodeEpoch(m.Value)
	if err != nil {
		return &Aside{Err: err}
	}
	s.mirror.epoch, s.mirror.epochTerm = m.Revision, epoch.Term
	return nil
}

func (s *State) applySynced(m Message) error {
	s.mirror.synced, s.mirror.syncedAt = fleet.Synced{}, m.Revision
	if m.Op != Put {
		return nil
	}
	synced, err := read(m, fleet.DecodeSynced)
	if err != nil {
		return &Aside{Err: err}
	}
	s.mirror.synced = synced
	return nil
}

// judge judges one pair and what hangs on it.
func (s *State) judge(x *pair, at time.Time) {
	judge(x, at)
	s.confirm(x)
	s.rest(x.deployment)
	s.release(x.deployment, x.device)
}

func resourceOf(uid string, deleting bool, t *fleet.Tombstone) resource {
	switch {
	case t != nil:
		return resource{presence: tombstone, uid: t.UID, cause: t.Cause}
	case uid == "":
		return resource{}
	}
	return resource{presence: live, uid: uid, deleting: deleting}
}
