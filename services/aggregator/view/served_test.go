package view

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/services/aggregator/projection"
)

func TestServed_OnlyByAPatcherThatHasReadTheApiserver(t *testing.T) {
	r := newReplay(0)
	r.pass(r.server.Add(-time.Hour))
	under := uint64(0)
	served := func() (is bool) {
		r.Read(func(_ *projection.State, m Moment) { is, under = m.Served, m.Epoch })
		return is
	}
	mirror, synced := r.feeds[0], func(epoch uint64) {
		r.seq++
		r.feeds[0].Apply(kv.Message{
			Key: fleet.KeySynced, Value: fmt.Appendf(nil, `{"epoch":%d}`, epoch), Revision: r.seq,
			Header: nats.Header{fleet.HeaderEpoch: {"1"}},
		})
	}
	step := func(what string, want bool) {
		t.Helper()
		if served() != want {
			t.Errorf("%s: served %t", what, !want)
		}
	}
	step("an empty mirror", false)
	r.write(fleet.BucketResources, fleet.KeyLease, "{}")
	epoch := r.write(fleet.BucketResources, fleet.KeyEpoch, "{}")
	step("a holder that reads", false)
	synced(epoch)
	step("a holder that has read", true)
	if under != epoch {
		t.Errorf("whole under epoch %d, want %d", under, epoch)
	}
	mirror.Apply(kv.Message{Key: fleet.KeyLease, Op: kv.Expired})
	step("its lease has run out", false)
	r.write(fleet.BucketResources, fleet.KeyLease, "{}")
	epoch = r.write(fleet.BucketResources, fleet.KeyEpoch, "{}")
	step("the next holder reads", false)
	synced(epoch)
	step("it has read", true)
	if under != epoch {
		t.Errorf("whole under epoch %d, want %d", under, epoch)
	}
	mirror.Apply(kv.Message{Key: fleet.KeySynced, Op: kv.Swept})
	step("the mirror was lost", false)
}
