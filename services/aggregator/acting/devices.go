package acting

import (
	"context"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/pace"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/registry"
	"harmony.dev/services/aggregator/view"
)

const (
	// perTick is how many devices are written at most in one tick, whatever the rate.
	perTick = 256
	// lookPerTick is how many changed devices are looked at in one tick: the view is locked meanwhile.
	lookPerTick = 20_000
)

// devices brings Device resources up to date under one epoch.
type devices struct {
	h       *Holder
	sender  fleet.Sender
	bucket  *pace.Bucket
	refused *refusals[fleet.DeviceID]
}

func newDevices(h *Holder, sender fleet.Sender) *devices {
	h.cfg.View.Read(func(s *projection.State, _ view.Moment) { s.MarkAllChanged() })
	return &devices{
		h: h, sender: sender, bucket: pace.New(h.cfg.DeviceRate, h.cfg.DeviceBurst),
		refused: newRefusals[fleet.DeviceID](h.cfg.Tick / 2),
	}
}

// tick sends the Devices that must change, as far as the rate allows.
func (d *devices) tick(ctx context.Context) error {
	due, refused := d.wanted()
	left, err := dispatch(ctx, due, d.deliver, func(w registry.Want) {
		d.h.cfg.View.Read(func(s *projection.State, _ view.Moment) { s.MarkChanged(w.Device) })
	})
	d.h.devices.set(refused+left, time.Now())
	return err
}

// wanted returns what is to be sent now, and how many are not although they were refused before.
func (d *devices) wanted() (due []registry.Want, refused int) {
	now := time.Now()
	d.h.cfg.View.Read(func(s *projection.State, m view.Moment) {
		if !m.Served || m.Verdict.Undecided {
			return
		}
		most := d.bucket.Take(m.Now, perTick)
		for _, id := range s.TakeChanged(lookPerTick) {
			dev, ok := s.Device(id)
			if !ok {
				continue
			}
			w, ok := registry.Judge(dev, m.Verdict.Incident())
			_, pausing := d.refused.pausing(id, now)
			switch {
			case !ok:
				d.refused.note(id, done, now)
			case len(due) < most && !pausing:
				due = append(due, w)
			default:
				s.MarkChanged(id)
				if d.refused.has(id) {
					refused++
				}
			}
		}
		d.bucket.Return(most - len(due))
	})
	return due, refused
}

func (d *devices) deliver(ctx context.Context, w registry.Want) outcome {
	o, err := send(ctx, d.h.cfg.Control, fleet.DeviceApply, fleet.DeviceApplyRequest{
		Sender: d.sender, Device: w.Device, UID: w.UID, Labels: w.Labels, Status: w.Status,
	})
	d.h.cfg.Metrics.sent("device", o)
	d.refused.note(w.Device, o, time.Now())
	if o != done {
		d.h.devices.blame(err)
		d.h.cfg.Log.Debug("device not delivered", "device", w.Device, "err", err)
	}
	return o
}
