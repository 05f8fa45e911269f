package acting

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/status"
	"harmony.dev/services/aggregator/view"
)

// statuses delivers the statuses of Deployments under one epoch.
type statuses struct {
	h       *Holder
	sender  fleet.Sender
	refused *refusals[fleet.DeploymentName]
	rebuild atomic.Int64 // statuses of this tick that wait for what is being rebuilt

	mu    sync.Mutex
	epoch uint64 // of the mirror, at the last tick
	seq   uint64 // of the last request, whichever Deployment it was about
	sent  map[fleet.DeploymentName]sent
}

// sent is what the patcher was asked for last.
type sent struct {
	uid      string
	observed int64
	acked    []byte    // the status once it is acknowledged, nil while nobody knows what the resource shows
	until    time.Time // own clock: for how long that is relied on
}

func newStatuses(h *Holder, sender fleet.Sender) *statuses {
	h.cfg.View.Read(func(s *projection.State, _ view.Moment) {
		s.MarkAllDirty()
		s.AwaitNothing() // the instance before may have shown it
	})
	return &statuses{
		h: h, sender: sender, refused: newRefusals[fleet.DeploymentName](h.cfg.Tick / 2),
		sent: map[fleet.DeploymentName]sent{},
	}
}

// tick delivers what is due.
func (d *statuses) tick(ctx context.Context) error {
	names, ready := d.due()
	if !ready {
		return nil
	}
	d.rebuild.Store(0)
	left, err := dispatch(ctx, names, d.deliver, func(name fleet.DeploymentName) {
		d.h.cfg.View.Read(func(s *projection.State, _ view.Moment) { s.MarkDirty(name) })
	})
	waiting := int(d.rebuild.Load())
	d.h.statuses.set(left-waiting, time.Now())
	d.h.rebuild.set(waiting, time.Now())
	if err == nil && left == waiting {
		d.h.flushed.Store(true)
	}
	return err
}

// Why statuses wait.
var (
	errUnserved = errors.New("no " + fleet.ServicePatcher + " serves: none holds its lease and has read the apiserver since")
	errReports  = errors.New("devices that are there have not reported again")
	errRecord   = errors.New(fleet.BucketDesiredState + " has no record of what was applied: " + fleet.ServiceReconciler + " has to write it")
)

// due takes the Deployments whose status may have changed; ready is false while nothing may be sent.
func (d *statuses) due() (names []fleet.DeploymentName, ready bool) {
	d.h.cfg.View.Read(func(s *projection.State, m view.Moment) {
		switch {
		case !m.Whole || m.Verdict.Undecided: // health has a reason of its own for each
			d.h.statuses.set(0, time.Now())
			d.h.rebuild.set(0, time.Now())
		case !m.Served:
			d.h.rebuild.set(0, time.Now())
			d.h.statuses.blame(errUnserved)
			d.h.statuses.set(s.Dirty(), time.Now())
		default:
			d.doubt(s, m.Epoch, time.Now())
			names, ready = s.TakeDirty(), true
		}
	})
	return names, ready
}

// doubt forgets acknowledgements that say little about what the resources show now, so that those
// statuses are sent again: all of them when the patcher has read the apiserver anew, for what it found
// may be older; and each when it is old, for anybody may have changed a resource.
func (d *statuses) doubt(s *projection.State, epoch uint64, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	anew := epoch != d.epoch
	d.epoch = epoch
	for name, last := range d.sent {
		if last.acked != nil && (anew || now.After(last.until)) {
			last.acked = nil
			d.sent[name] = last
			s.MarkDirty(name)
		}
	}
}

// deliver brings the status of a Deployment up to date, and counts those that wait for a rebuild.
func (d *statuses) deliver(ctx context.Context, name fleet.DeploymentName) outcome {
	o, pausing := d.refused.pausing(name, time.Now())
	if !pausing {
		o = d.try(ctx, name)
	}
	if o == rebuild {
		d.rebuild.Add(1)
	}
	return o
}

// try sends the present status of a Deployment, if there is one to send. After a refusal there is a
// pause; what is missing in the view costs no request to look for.
func (d *statuses) try(ctx context.Context, name fleet.DeploymentName) outcome {
	req, since, o := d.compute(name)
	if req != nil {
		o = d.apply(ctx, req, since)
	}
	if req != nil || o == done {
		d.refused.note(name, o, time.Now())
	}
	return o
}

// compute returns the request with the present status and the server's stamp of the oldest report that it is the first to
// show, or nil and what becomes of it without one.
func (d *statuses) compute(name fleet.DeploymentName) (req *fleet.StatusApplyRequest, since time.Time, o outcome) {
	d.h.cfg.View.Read(func(s *projection.State, m view.Moment) { req, since, o = d.look(s, m, name) })
	return req, since, o
}

// look is compute at one moment of the view.
func (d *statuses) look(s *projection.State, m view.Moment, name fleet.DeploymentName) (req *fleet.StatusApplyRequest, since time.Time, o outcome) {
	dep, found := s.Deployment(name)
	lost := missing(dep, m, d.last(name))
	switch {
	case !m.Served:
		d.h.statuses.blame(errUnserved)
		return nil, since, silence
	case m.Verdict.Undecided:
		return nil, since, silence
	case !found || !dep.Registered:
		d.forget(name)
		s.TakeAwaited(name) // no status will show it, and one of a later Deployment of this name says nothing about the time
		return nil, since, done
	case dep.Deleting && !recorded(dep): // the record goes last: there is nothing more to say
		s.TakeAwaited(name)
		return nil, since, done
	case lost != nil:
		d.h.rebuild.blame(lost)
		return nil, since, rebuild
	}
	return &fleet.StatusApplyRequest{
		Sender: d.sender, Deployment: name, UID: dep.UID, Generation: dep.Generation,
		Status: status.Of(dep, m.Verdict.Silent),
	}, s.TakeAwaited(name), done
}

// missing returns which part of what the status follows from was lost and is coming back: reports of
// devices that are there, or the reconciler's record. Sending now would show a fleet that forgot.
func missing(dep projection.Deployment, m view.Moment, last sent) error {
	switch {
	case m.StatesYoung && dep.Owed > 0:
		return errReports
	case !recorded(dep) && (m.DesiredYoung || last.uid == dep.UID && last.observed > 0):
		return errRecord
	}
	return nil
}

// recorded reports whether the reconciler has a record of this Deployment, not of another of its name.
func recorded(dep projection.Deployment) bool {
	return dep.Applied != nil && dep.Applied.UID == dep.UID
}

// apply sends a status, if it is not the acknowledged one. Since is when the oldest report came that it is to show.
func (d *statuses) apply(ctx context.Context, req *fleet.StatusApplyRequest, since time.Time) outcome {
	body, err := json.Marshal(req.Status)
	if err != nil {
		d.h.statuses.blame(err)
		d.h.cfg.Log.Error("status not encoded", "deployment", req.Deployment, "err", err)
		return again
	}
	if !d.next(req, body) {
		return done
	}
	o, err := send(ctx, d.h.cfg.Control, fleet.StatusApply, *req)
	d.h.cfg.Metrics.sent("status", o)
	d.account(req.Deployment, since, o)
	switch o {
	case done:
		d.acknowledge(req.Deployment, body)
		return done
	case rebuild:
		d.h.rebuild.blame(err)
	case again, silence, deposed:
		d.h.statuses.blame(err)
	}
	d.h.cfg.Log.Debug("status not delivered", "deployment", req.Deployment, "err", err)
	return o
}

// account measures how long a report waited to be shown, by the server's clock, or leaves it waiting.
func (d *statuses) account(name fleet.DeploymentName, since time.Time, o outcome) {
	if since.IsZero() {
		return
	}
	d.h.cfg.View.Read(func(s *projection.State, m view.Moment) {
		if o != done {
			s.Await(name, since)
			return
		}
		d.h.cfg.Metrics.shown(m.Now.Sub(since))
	})
}

func (d *statuses) last(name fleet.DeploymentName) sent {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sent[name]
}

func (d *statuses) forget(name fleet.DeploymentName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sent, name)
}

// next numbers a request; it reports false when its status is the acknowledged one. From here until it is
// acknowledged itself none is: it may be carried out although no answer comes.
func (d *statuses) next(req *fleet.StatusApplyRequest, body []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if last := d.sent[req.Deployment]; last.uid == req.UID && bytes.Equal(last.acked, body) {
		return false
	}
	d.sent[req.Deployment] = sent{uid: req.UID, observed: req.Status.ObservedGeneration}
	d.seq++
	req.Seq = d.seq
	return true
}

func (d *statuses) acknowledge(name fleet.DeploymentName, body []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.sent[name]
	last.acked = body
	last.until = time.Now().Add(d.h.cfg.Refresh/2 + rand.N(d.h.cfg.Refresh/2)) // not all at the same time
	d.sent[name] = last
}
