package holder

import (
	"context"
	"fmt"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
)

// A resync makes every agent of a fleet ask within seconds: so many are answered at a time, so many
// wait. The others get a 429 and ask again, spread out.
const (
	answerWorkers = 16
	answerQueue   = 8192
)

// What one device can take of that. It asks for one page at a time; the second place is for one that
// reconnects and asks again. A request has at most a digest and a name, and room to grow.
const (
	answerPerDevice  = 2
	answerMaxRequest = 1 << 10
)

// stopAnswering bounds the answers under way when the lease ends.
const stopAnswering = 2 * time.Second

// answer answers devices that ask for their desired state until stop is called.
func (h *Holder) answer(t *kv.Term) (stop func(), err error) {
	cfg := rpc.Config{
		Workers: answerWorkers, Queue: answerQueue, PerSubject: answerPerDevice, MaxRequest: answerMaxRequest,
		Refused: h.cfg.Metrics.refuse, Panicked: h.panicked, Log: h.cfg.Log,
	}
	sub, err := rpc.Subscribe(h.cfg.Data, fleet.DesiredSubjects, cfg,
		func(_ context.Context, subject string, req fleet.SnapshotRequest) (fleet.Snapshot, error) {
			return h.snapshot(t, subject, req)
		})
	if err != nil {
		return nil, fmt.Errorf("answer devices: %w", err)
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopAnswering)
		defer cancel()
		if err := sub.Drain(ctx); err != nil {
			h.cfg.Log.Warn("stop answering devices", "err", err)
		}
	}, nil
}

// snapshot answers one device. The device is known by the subject alone.
func (h *Holder) snapshot(t *kv.Term, subject string, req fleet.SnapshotRequest) (fleet.Snapshot, error) {
	device, err := fleet.ParseDesiredSubject(subject)
	if err != nil {
		return fleet.Snapshot{}, fleet.Errorf(fleet.CodeInvalid, "RequestInvalid", "%v", err)
	}
	keys, now, err := h.deviceKeys(device)
	if err != nil {
		return fleet.Snapshot{}, err
	}
	snapshot := fleet.Snapshot{
		AsOf:     now.Seq,
		Complete: keys.Whole && (keys.Quarantined || h.settled(now)),
		Entries:  []fleet.SnapshotEntry{},
	}
	if req.After == "" && req.Digest != "" && req.Digest == plan.Digest(keys.Entries) {
		snapshot.Unchanged = true
	} else {
		snapshot.Entries, snapshot.Next = plan.Page(keys.Entries, req.After, fleet.MaxSnapshotPage-snapshotOverhead)
	}
	if !t.Held() { // as late as possible: another holder may be writing already
		return fleet.Snapshot{}, unavailable("NotHolder", "this replica no longer holds the lease: ask again")
	}
	return snapshot, nil
}

// snapshotOverhead is what a page takes on the wire beside its entries, at most.
const snapshotOverhead = 1 << 10

// deviceKeys returns what a device is to run, once what the plan may write is written and in view: a live
// message that the device has obeyed already must not be overruled by a view that lacks it.
func (h *Holder) deviceKeys(device fleet.DeviceID) (keys plan.DeviceKeys, now view.Now, err error) {
	if !h.answering.Load() {
		return keys, now, unavailable("Converging", "the plan is not written yet: ask again")
	}
	h.cfg.View.Do(func(s *plan.State, n view.Now) {
		now = n
		if !n.Synced || !s.MirrorWhole() {
			err = unavailable("NotSynced", "the buckets are not in view: ask again")
			return
		}
		keys, err = s.DeviceKeys(device, h.refusals.has)
		// Under the lock of the view: what is no longer under way is in the view that the keys are from.
		if err == nil && !keys.Quarantined && h.underWay.has(device) {
			err = unavailable("Converging", "writes for this device are under way: ask again")
		}
	})
	return keys, now, err
}

// settled reports whether both streams have been what they are for long enough to conclude from what is not in
// them.
func (h *Holder) settled(now view.Now) bool {
	return now.Time.Sub(now.Mirror) >= h.cfg.IncompleteFor && now.Time.Sub(now.Desired) >= h.cfg.IncompleteFor
}
