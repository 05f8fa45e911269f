package holder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/rpc"
	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
)

func TestOperations_RecordsComeLast(t *testing.T) {
	pair := func(d string) fleet.Pair { return fleet.Pair{Device: fleet.DeviceID(d), Deployment: "web"} }
	ops, err := operations(plan.Plan{
		Groups: []plan.Group{
			{
				Deployment: "web",
				Puts:       []plan.Assignment{{Pair: pair("d1"), Value: &plan.Value{Bytes: []byte("v")}}},
				Deletes:    []plan.Delete{{Pair: pair("d2"), Cause: fleet.CauseEdited}},
				Applied:    &plan.Change[fleet.Applied]{Value: &fleet.Applied{UID: "u", Generation: 2}},
			},
			{Deployment: "old", Applied: &plan.Change[fleet.Applied]{}},
		},
		Hold: &plan.Change[fleet.Hold]{Value: &fleet.Hold{ID: "h"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range ops {
		got = append(got, fmt.Sprintf("%s %v %s", op.Key, op.Delete, op.Header[fleet.HeaderCause]))
	}
	want := []string{"d1.web false ", "d2.web true edited", "_applied.web false ", "_applied.old true ", "_hold false "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// A holder whose view does not come as far as its own writes gives the lease back: another may see them.
func TestHolder_DoesNotWaitForEverForItsOwnWrites(t *testing.T) {
	nc := fleettest.NATS(t).Conn(t)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	bucket := kv.Open(nc, fleet.BucketDesiredState, kv.Provisioning{Fleet: "fleet"})
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	elector := kv.NewElector(kv.ElectorConfig{Bucket: bucket, Own: true, Instance: "one", Log: log})
	h := New(Config{
		View:    view.New(view.Config{Mirror: kv.Open(nc, fleet.BucketResources, kv.Provisioning{Fleet: "fleet"}), Desired: bucket, Log: log}), // which nobody feeds
		Elector: elector, Data: nc, Control: nc, HandBackAfter: 100 * time.Millisecond, Metrics: metrics, Log: log,
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = elector.Run(ctx, func(ctx context.Context, term *kv.Term) error {
		defer cancel()
		epoch, err := term.NewEpoch(ctx)
		if err != nil {
			return err
		}
		hold := plan.Plan{Hold: &plan.Change[fleet.Hold]{Value: &fleet.Hold{ID: "h", UpTo: 1}}}
		for name, err := range map[string]error{
			"its epoch": h.epoch(ctx, term, epoch),
			"its plan":  h.write(ctx, term, hold, time.Now()),
		} {
			if !errors.Is(err, errBlind) {
				t.Errorf("waiting for %s ends with %v", name, err)
			}
		}
		return nil
	})
	if err != nil || !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}

// A device is answered to the very end, when nobody watches any more.
func TestHolder_APanicAtTheEndIsNotLost(t *testing.T) {
	bucket := kv.Open(fleettest.NATS(t).Conn(t), fleet.BucketDesiredState, kv.Provisioning{Fleet: "fleet"})
	h := New(Config{Elector: kv.NewElector(kv.ElectorConfig{Bucket: bucket, Instance: "one"})})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(h.Watch(ctx), h.Run(ctx)); err != nil {
		t.Fatal(err)
	}
	h.panicked(&rpc.PanicError{Value: "boom"})
	if _, ok := errors.AsType[*rpc.PanicError](h.Run(ctx)); !ok {
		t.Error("the panic is lost")
	}
}

func TestRefusals_LeaveOutForAWhile(t *testing.T) {
	var r refusals
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	groups := []plan.Group{{Deployment: "big"}, {Deployment: "web"}}
	if got, wake := r.admit(groups, now, time.Time{}); len(got) != 2 || !wake.IsZero() || r.reason() != nil {
		t.Errorf("without refusals: %v, %v", got, wake)
	}
	r.add("big", errors.New("too large"), now)
	got, wake := r.admit(groups, now, now.Add(time.Hour))
	if len(got) != 1 || got[0].Deployment != "web" || !wake.Equal(now.Add(refusedFor)) || !r.has("big") || r.reason() == nil {
		t.Errorf("refused: %v, wake %v, reason %v", got, wake, r.reason())
	}
	if got, _ := r.admit(groups, now.Add(refusedFor), time.Time{}); len(got) != 2 {
		t.Errorf("due again: %v", got)
	}
	if r.admit(groups[1:], now, time.Time{}); r.has("big") || r.reason() != nil {
		t.Error("a refusal outlives what was refused")
	}
}
