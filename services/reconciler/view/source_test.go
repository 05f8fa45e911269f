package view

import (
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/reconciler/plan"
)

// TestSource_MirrorThatWentBackIsDoubted: revisions over passes are compared for this alone.
func TestSource_MirrorThatWentBackIsDoubted(t *testing.T) {
	for _, c := range []struct {
		name    string
		barrier uint64
		whole   bool
	}{
		{"read again", 105, true},
		{"created again", 1 << 40, true},
		{"went back", 104, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := New(Config{
				Mirror: kv.Open(nil, fleet.BucketResources, kv.Provisioning{}), Desired: kv.Open(nil, fleet.BucketDesiredState, kv.Provisioning{}),
				Brake: plan.DefaultBrake(), Log: slog.New(slog.DiscardHandler),
			})
			own := nats.Header{fleet.HeaderEpoch: []string{"7"}}
			read := func(barrier uint64, revisions ...uint64) {
				v.mirror.Begin(kv.Pass{Barrier: barrier})
				for _, r := range revisions {
					v.mirror.Apply(kv.Message{Key: fleet.KeySynced, Value: []byte(`{"epoch":7}`), Revision: r, Header: own})
				}
				v.mirror.Synced(kv.Pass{Barrier: barrier})
			}
			whole := func() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.state.MirrorWhole() }
			read(100, 100, 105)
			if !whole() {
				t.Fatal("it is not whole at first")
			}
			read(c.barrier)
			if whole() != c.whole {
				t.Errorf("whole is %t, want %t", !c.whole, c.whole)
			}
			read(c.barrier)
			if whole() != c.whole {
				t.Errorf("whole is %t when read once more, want %t", !c.whole, c.whole)
			}
		})
	}
}
