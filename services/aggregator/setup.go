package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/service"
	"harmony.dev/services/aggregator/acting"
	"harmony.dev/services/aggregator/query"
	"harmony.dev/services/aggregator/resync"
	"harmony.dev/services/aggregator/staleness"
	"harmony.dev/services/aggregator/view"
)

// spec returns the service. Now is the own clock.
func spec(now func() time.Time) service.Spec {
	return service.Spec{
		Name:  fleet.ServiceAggregator,
		Usage: "folds what devices report into the status of Deployments",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "tick", Value: time.Second, Usage: "how often changed statuses are written, at most 10s"},
			&cli.DurationFlag{Name: "heartbeat-interval", Value: staleness.DefaultInterval, Usage: "how often the agents send heartbeats"},
			&cli.DurationFlag{Name: "stale-after", Value: staleness.DefaultStaleAfter, Usage: "after which silence a device is stale, at least 3 heartbeat intervals"},
			&cli.DurationFlag{Name: "silence-after", Value: staleness.DefaultSilenceAfter, Usage: "after which silence of the whole fleet its devices are stale"},
			&cli.DurationFlag{Name: "status-refresh", Value: 10 * time.Minute, Usage: "after which time at most a status is sent again that has not changed, at least 1s"},
			&cli.DurationFlag{Name: "rebuild-for", Value: view.DefaultRebuildFor, Usage: "how long statuses wait for what a bucket that was created anew does not have again"},
			&cli.DurationFlag{Name: "orphan-after", Value: time.Hour, Usage: "after which time keys are removed that belong to nothing"},
			&cli.Float64Flag{Name: "device-rate", Value: 50, Usage: "writes of Device resources per second"},
			&cli.IntFlag{Name: "device-burst", Value: 200, Usage: "writes of Device resources at once"},
			&cli.Float64Flag{Name: "resync-rate", Value: 50, Usage: "requests to agents per second"},
		},
		Check: func(c *cli.Context) error { _, err := parse(c); return err },
		Setup: func(_ context.Context, c *cli.Context, rt *service.Runtime) error { return setup(c, rt, now) },
	}
}

// options are the flags of this service.
type options struct {
	tick        time.Duration
	staleness   staleness.Config
	refresh     time.Duration
	rebuildFor  time.Duration
	orphanAfter time.Duration
	deviceRate  float64
	deviceBurst int
	resyncRate  float64
}

func parse(c *cli.Context) (options, error) {
	o := options{
		tick: c.Duration("tick"),
		staleness: staleness.Config{
			Interval: c.Duration("heartbeat-interval"), StaleAfter: c.Duration("stale-after"),
			SilenceAfter: c.Duration("silence-after"), Few: staleness.DefaultFew,
		},
		refresh: c.Duration("status-refresh"), rebuildFor: c.Duration("rebuild-for"), orphanAfter: c.Duration("orphan-after"),
		deviceRate: c.Float64("device-rate"), deviceBurst: c.Int("device-burst"), resyncRate: c.Float64("resync-rate"),
	}
	s := o.staleness
	switch {
	case o.tick <= 0 || o.tick > 10*time.Second:
		return o, fmt.Errorf("--tick %s is not between 0 and 10s", o.tick)
	case s.Interval <= 0:
		return o, fmt.Errorf("--heartbeat-interval %s is not positive", s.Interval)
	case s.StaleAfter < 3*s.Interval:
		return o, fmt.Errorf("--stale-after %s is less than 3 heartbeat intervals of %s", s.StaleAfter, s.Interval)
	case s.SilenceAfter < s.StaleAfter:
		return o, fmt.Errorf("--silence-after %s is less than --stale-after %s", s.SilenceAfter, s.StaleAfter)
	case o.refresh < time.Second:
		return o, fmt.Errorf("--status-refresh %s is less than 1s", o.refresh)
	case o.orphanAfter <= 0:
		return o, fmt.Errorf("--orphan-after %s is not positive", o.orphanAfter)
	case o.deviceRate <= 0 || o.deviceBurst <= 0 || o.resyncRate <= 0:
		return o, fmt.Errorf("--device-rate, --device-burst and --resync-rate must be positive")
	}
	return o, nil
}

// setup wires the service: buckets into the view, the view into queries and the holder, all of it into
// health.
func setup(c *cli.Context, rt *service.Runtime, now func() time.Time) error {
	o, err := parse(c)
	if err != nil {
		return err
	}
	open := func(bucket string) *kv.Bucket { return kv.Open(rt.Data, bucket, rt.Provisioning) }
	control := func(bucket string) *kv.Bucket { return kv.Open(rt.Control, bucket, rt.Provisioning) }
	buckets := view.Buckets{
		Resources: control(fleet.BucketResources), Desired: open(fleet.BucketDesiredState),
		Infos: open(fleet.BucketDeviceInfo), States: open(fleet.BucketDeviceState), Heartbeats: open(fleet.BucketDeviceHeartbeat),
	}
	v := view.New(now, o.staleness, o.rebuildFor)
	for _, s := range v.Reflectors(buckets, 0, rt.Log) {
		rt.Health.Source(s.Name, true, s.Health)
		rt.Go("reflector-"+s.Name, s.Reflector.Run)
	}

	holder := acting.NewHolder(acting.Config{
		View: v, Data: rt.Data, Control: rt.Control,
		Buckets: map[string]*kv.Bucket{
			fleet.BucketDeviceInfo: buckets.Infos, fleet.BucketDeviceState: buckets.States, fleet.BucketDeviceHeartbeat: buckets.Heartbeats,
		},
		Log: rt.Log, Metrics: acting.NewMetrics(rt.Metrics),
		Tick: o.tick, HandBackAfter: rt.LeaseTTL, Refresh: o.refresh, RebuildFor: o.rebuildFor, OrphanAfter: o.orphanAfter, DeviceRate: o.deviceRate, DeviceBurst: o.deviceBurst,
		Resync:     resync.Config{First: o.staleness.Interval / 6, Most: 20 * o.staleness.Interval},
		ResyncRate: o.resyncRate,
	})
	leases := control(fleet.BucketLeases)
	elector := kv.NewElector(kv.ElectorConfig{
		Bucket: leases, Own: true, Instance: rt.Instance, TTL: rt.LeaseTTL,
		Eligible: v.InView, Log: rt.Log,
	})
	rt.Health.Lease(elector.Health)
	rt.Go("holder", func(ctx context.Context) error { return elector.Run(ctx, holder.Act) })

	rt.Metrics.MustRegister(newGauges(v), service.NewFence(fleet.BucketLeases, elector.Refusals))
	w := &watch{view: v, holder: holder, elector: elector, leases: leases, health: rt.Health, config: o.staleness}
	rt.Health.Converging(holder.Converging)
	rt.Health.Waiting(w.waiting)
	rt.Go("watch", func(ctx context.Context) error { return w.run(ctx, o.tick) })

	server, err := rt.Server("counts what the devices report, and answers questions about the fleet")
	if err != nil {
		return err
	}
	return query.Register(server, v)
}
