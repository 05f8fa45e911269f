package view

import (
	"harmony.dev/fleet"
	"harmony.dev/fleet/decode"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/aggregator/projection"
)

// resource takes in a message of the mirror.
func (f *feed) resource(m kv.Message) {
	if fleet.IsReserved(m.Key) {
		f.service(m)
		return
	}
	key, err := fleet.ParseResourceKey(m.Key)
	switch {
	case err != nil:
		f.illegal(m, err)
	case isForeign(m):
		f.aside.Add(m, errForeign, true)
	case key.Deployment != "":
		f.deployment(key.Deployment, m)
	default:
		f.device(key.Device, m)
	}
}

// service takes in the keys by which the patcher says that it serves, and that the mirror is whole.
func (f *feed) service(m kv.Message) {
	put := m.Op == kv.Put
	switch m.Key {
	case fleet.KeyLease:
		f.patcher(func(p *patcher) { p.held = put })
	case fleet.KeyEpoch:
		epoch := uint64(0)
		if put {
			epoch = m.Revision
		}
		f.patcher(func(p *patcher) { p.epoch = epoch })
	case fleet.KeySynced:
		if isForeign(m) {
			return
		}
		var s fleet.Synced
		if put {
			var err error
			s, err = fleet.DecodeSynced(m.Value) // zero with an error
			f.judge(m, err, false)
		}
		f.patcher(func(p *patcher) { p.synced = s.Epoch })
	}
}

func (f *feed) patcher(change func(*patcher)) {
	f.view.mu.Lock()
	defer f.view.mu.Unlock()
	change(&f.view.patcher)
}

func (f *feed) deployment(name fleet.DeploymentName, m kv.Message) {
	if m.Op != kv.Put {
		f.drop(m, func(s *projection.State) { s.DropDeployment(name) })
		return
	}
	d, err := fleet.DecodeMirrorDeployment(m.Value)
	f.put(m, err, func(s *projection.State) { s.PutDeployment(name, d) })
}

func (f *feed) device(id fleet.DeviceID, m kv.Message) {
	if m.Op != kv.Put {
		f.drop(m, func(s *projection.State) { s.DropDevice(id) })
		return
	}
	d, err := fleet.DecodeMirrorDevice(m.Value)
	f.put(m, err, func(s *projection.State) { s.PutDevice(id, d, origin(m)) })
}

// desired takes in a message of desired-state.
func (f *feed) desired(m kv.Message) {
	if fleet.IsReserved(m.Key) {
		f.bookkeeping(m)
		return
	}
	pair, err := fleet.ParseDesiredKey(m.Key)
	switch {
	case err != nil:
		f.illegal(m, err)
	case m.Op != kv.Put:
		f.drop(m, func(s *projection.State) { s.DropDesired(pair) })
	case isForeign(m):
		f.aside.Add(m, errForeign, false)
		f.view.change(func(s *projection.State) { s.PutForeign(pair, m.Time) })
	default:
		f.view.change(func(s *projection.State) { err = s.PutDesired(pair, m.Value, m.Time) })
		f.judge(m, err, false)
	}
}

// bookkeeping takes in what the reconciler says about its own work.
func (f *feed) bookkeeping(m kv.Message) {
	if m.Key == fleet.KeyHold {
		f.hold(m)
		return
	}
	name, ok := fleet.ParseAppliedKey(m.Key)
	switch {
	case !ok:
	case isForeign(m):
		f.aside.Add(m, errForeign, true)
	case m.Op != kv.Put:
		f.drop(m, func(s *projection.State) { s.DropApplied(name) })
	default:
		a, err := fleet.DecodeApplied(m.Value)
		f.put(m, err, func(s *projection.State) { s.PutApplied(name, a, m.Time) })
	}
}

// hold takes in the brake's hold. One that cannot be read, or that somebody else wrote, is a hold all
// the same: it only keeps something from being deleted.
func (f *feed) hold(m kv.Message) {
	if m.Op != kv.Put {
		f.drop(m, func(s *projection.State) { s.SetHold(false, nil) })
		return
	}
	h, err := fleet.DecodeHold(m.Value)
	if isForeign(m) {
		err = errForeign
	}
	f.judge(m, err, false)
	f.view.change(func(s *projection.State) {
		if err != nil {
			s.SetHold(true, nil)
			return
		}
		s.SetHold(true, &h)
	})
}

// info takes in what a device says of itself.
func (f *feed) info(m kv.Message) {
	id, err := fleet.ParseInfoKey(m.Key)
	switch {
	case err != nil:
		f.illegal(m, err)
	case m.Op != kv.Put:
		f.drop(m, func(s *projection.State) { s.DropInfo(id) })
	default:
		i, at, err := spoken(m, fleet.DecodeInfo)
		kept := false
		f.view.change(func(s *projection.State) {
			if err == nil {
				s.PutInfo(id, i, at)
				return
			}
			s.SpoilInfo(id, at)
			d, _ := s.Device(id)
			kept = d.Info != nil
		})
		f.judge(m, err, kept)
	}
}

// report takes in what a device says of a pair.
func (f *feed) report(m kv.Message) {
	pair, err := fleet.ParseStateKey(m.Key)
	switch {
	case err != nil:
		f.illegal(m, err)
	case m.Op != kv.Put:
		f.drop(m, func(s *projection.State) { s.DropReport(pair) })
	default:
		r, at, err := spoken(m, decode.Report)
		kept := false
		f.view.change(func(s *projection.State) {
			if err == nil {
				err = s.PutReport(pair, r, at)
				return
			}
			s.SpoilReport(pair, at)
			p, _ := s.Pair(pair)
			kept = p.Phase != ""
		})
		f.judge(m, err, kept)
	}
}

// heartbeat takes in a sign of life. That it came is what counts: a malformed one is shown, and counts.
func (f *feed) heartbeat(m kv.Message) {
	id, err := fleet.ParseHeartbeatKey(m.Key)
	switch {
	case err != nil:
		f.illegal(m, err)
	case m.Op != kv.Put:
		f.drop(m, func(s *projection.State) { s.DropHeartbeat(id) })
	default:
		_, at, err := spoken(m, fleet.DecodeHeartbeat)
		f.view.change(func(s *projection.State) { s.PutHeartbeat(id, at) })
		f.judge(m, err, true)
	}
}

// put takes in a value of a service; a malformed one is set aside, and the one before it kept.
func (f *feed) put(m kv.Message, err error, change func(*projection.State)) {
	f.judge(m, err, true)
	if err == nil {
		f.view.change(change)
	}
}

// drop takes note that a key is gone.
func (f *feed) drop(m kv.Message, change func(*projection.State)) {
	f.aside.Clear(m.Key)
	f.view.change(change)
}
