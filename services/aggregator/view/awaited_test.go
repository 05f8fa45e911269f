package view

import (
	"testing"
	"time"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/aggregator/projection"
)

// What is read from the beginning was there before, however long: only what comes afterwards waits to be shown.
func TestAwaited_NothingOfWhatIsReadAgain(t *testing.T) {
	r := newReplay(0)
	created := r.server.Add(-time.Hour)
	r.pass(created)
	r.write(fleet.BucketDesiredState, "pi.web", "{}") // written by somebody else: the pair is pending with any report
	waits := func() (is bool) {
		r.Read(func(s *projection.State, _ Moment) { is = !s.TakeAwaited("web").IsZero() })
		return is
	}
	report := func() { r.write(fleet.BucketDeviceState, "state.pi.web", "{}") }
	report()
	if !waits() {
		t.Error("the first report does not wait to be shown")
	}
	for _, f := range r.feeds {
		if f.bucket == fleet.BucketDeviceState {
			f.Begin(kv.Pass{Number: 2, Created: created})
			f.Apply(kv.Message{Key: "state.pi.web", Op: kv.Swept})
			report()
			f.Synced(kv.Pass{Number: 2, Created: created})
		}
	}
	if waits() {
		t.Error("what was read again waits to be shown")
	}
}
