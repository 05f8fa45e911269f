package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/service"
	"harmony.dev/services/reconciler/holder"
	"harmony.dev/services/reconciler/view"
)

// parts is what a reconciler is made of.
type parts struct {
	data, control *nats.Conn
	provisioning  kv.Provisioning
	instance      string
	leaseTTL      time.Duration
	options       options
	metrics       prometheus.Registerer
	log           *slog.Logger
}

// reconciler is one replica.
type reconciler struct {
	view    *view.View
	elector *kv.Elector
	holder  *holder.Holder
}

func newReconciler(p parts) (*reconciler, error) {
	desired := kv.Open(p.data, fleet.BucketDesiredState, p.provisioning)
	v := view.New(view.Config{
		Mirror:  kv.Open(p.control, fleet.BucketResources, p.provisioning),
		Desired: desired, Brake: p.options.brake, Log: p.log,
	})
	metrics, err := holder.NewMetrics(p.metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	elector := kv.NewElector(kv.ElectorConfig{
		Bucket: desired, Own: true, Instance: p.instance, TTL: p.leaseTTL, Eligible: v.Synced, Log: p.log,
	})
	for _, c := range []prometheus.Collector{newGauges(v), service.NewFence(fleet.BucketDesiredState, elector.Refusals)} {
		if err := p.metrics.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	h := holder.New(holder.Config{
		View: v, Elector: elector, Data: p.data, Control: p.control,
		IncompleteFor: p.options.incompleteFor, HandBackAfter: p.leaseTTL, Metrics: metrics, Log: p.log,
	})
	return &reconciler{view: v, elector: elector, holder: h}, nil
}

// loop is a long-lived goroutine.
type loop struct {
	name string
	run  func(context.Context) error
}

func (r *reconciler) loops(h healthTeller) []loop {
	return []loop{
		{"view-resources", r.view.RunMirror},
		{"view-desired", r.view.RunDesired},
		{"holder", r.holder.Run},
		{"answers", r.holder.Watch},
		{"reasons", func(ctx context.Context) error { return r.tellReasons(ctx, h) }},
	}
}
