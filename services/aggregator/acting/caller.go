package acting

import (
	"context"

	"harmony.dev/fleet"
	"harmony.dev/services/aggregator/pace"
	"harmony.dev/services/aggregator/projection"
	"harmony.dev/services/aggregator/resync"
	"harmony.dev/services/aggregator/view"
)

// caller asks agents to send again what is missing. A request is a plain message: one that is lost is
// repeated, because the same is still missing.
type caller struct {
	h        *Holder
	schedule *resync.Schedule
	bucket   *pace.Bucket
}

// callsPerTick is how many agents are asked at most in one tick, whatever the rate.
const callsPerTick = 1000

func newCaller(h *Holder) *caller {
	h.cfg.View.Read(func(s *projection.State, _ view.Moment) { s.AskAnew() })
	burst := max(int(h.cfg.ResyncRate), 1)
	return &caller{h: h, schedule: resync.NewSchedule(h.cfg.Resync), bucket: pace.New(h.cfg.ResyncRate, burst)}
}

// tick asks those whose time has come.
func (c *caller) tick(context.Context) error {
	var due []fleet.DeviceID
	c.h.cfg.View.Read(func(s *projection.State, m view.Moment) {
		if !m.Whole {
			return
		}
		most := c.bucket.Take(m.Now, callsPerTick)
		due = c.schedule.Due(m.Now, s, most)
		c.bucket.Return(most - len(due))
	})
	if c.h.cfg.View.Announce() && c.publish(fleet.SubjectResyncAll) {
		c.h.cfg.View.Announced()
	}
	for _, id := range due {
		c.publish(fleet.ResyncSubject(id))
	}
	return nil
}

func (c *caller) publish(subject string) bool {
	if err := c.h.cfg.Data.Publish(subject, nil); err != nil {
		c.h.cfg.Log.Debug("resync not requested", "subject", subject, "err", err)
		return false
	}
	c.h.cfg.Metrics.Resyncs.Inc()
	return true
}
