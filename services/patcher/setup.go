package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
	"harmony.dev/fleet/service"
	"harmony.dev/services/patcher/acting"
	"harmony.dev/services/patcher/herald"
	"harmony.dev/services/patcher/keeper"
	"harmony.dev/services/patcher/kube"
)

func spec() service.Spec {
	return service.Spec{
		Name:  fleet.ServicePatcher,
		Usage: "mirrors the custom resources into NATS and writes back what the other services ask for",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "kubeconfig", Usage: "reach the apiserver by the kubeconfig `FILE` (default: in a cluster the service account, else $KUBECONFIG)"},
			&cli.Float64Flag{Name: "kube-qps", Value: 200, Usage: "write to the apiserver at most `N` times per second"},
			&cli.IntFlag{Name: "kube-burst", Value: 400, Usage: "write to the apiserver at most `N` times at once"},
		},
		Setup: setup,
	}
}

// messageRoom is what a message of the mirror may need beside its value: subject and headers.
const messageRoom = 2 << 10

// parts are what the service is made of.
type parts struct {
	stores    map[kube.Kind]*kube.Store
	informers map[kube.Kind]*kube.Informer
	metrics   *kube.Metrics
	writer    *kube.Writer
	events    *kube.Recorder
	herald    *herald.Herald
	keeper    *keeper.Keeper
	elector   *kv.Elector
}

func setup(_ context.Context, c *cli.Context, rt *service.Runtime) error {
	p, err := assemble(c, rt)
	if err != nil {
		return err
	}
	server, err := rt.Server("mirrors the custom resources into KV, and writes their status to the Kubernetes API")
	if err != nil {
		return err
	}
	server.ActWhile(p.holding)
	handler, err := p.handler(rt)
	if err != nil {
		return err
	}
	if err := handler.Register(server); err != nil {
		return err
	}
	p.tell(rt)
	for kind, informer := range p.informers {
		rt.Go(kind.Resource, informer.Run)
	}
	rt.Go("mirror", p.keeper.Watch)
	rt.Go("herald", p.herald.Run)
	rt.Go("lease", func(ctx context.Context) error { return p.keeper.Campaign(ctx, p.elector) })
	rt.Go("reasons", func(ctx context.Context) error { return p.watchReasons(ctx, rt.Health) })
	return nil
}

func assemble(c *cli.Context, rt *service.Runtime) (*parts, error) {
	cfg, err := kube.Config(c.String("kubeconfig"))
	if err != nil {
		return nil, err
	}
	client, err := kube.NewClient(cfg, rt.Name+"/"+rt.Version)
	if err != nil {
		return nil, err
	}
	p := &parts{stores: map[kube.Kind]*kube.Store{}, informers: map[kube.Kind]*kube.Informer{}}
	if p.metrics, err = kube.NewMetrics(rt.Metrics); err != nil {
		return nil, err
	}
	sources := map[kube.Kind]keeper.Informer{}
	for _, kind := range kube.Kinds() {
		store := kube.NewStore(func(name string) { p.keeper.Changed(kind, name) })
		informer := kube.NewInformer(kube.InformerConfig{
			Client: client, Kind: kind, Namespace: rt.Fleet, Store: store, Metrics: p.metrics, Log: rt.Log,
			WentBack: func() { p.keeper.WentBack() },
		})
		p.stores[kind], p.informers[kind] = store, informer
		sources[kind] = keeper.Informer{Store: store, Relist: informer.Relist, OutOfSight: informer.OutOfSight}
	}
	p.writer, err = kube.NewWriter(kube.WriterConfig{
		Client: client, Namespace: rt.Fleet, Stores: p.stores, Metrics: p.metrics,
		QPS: c.Float64("kube-qps"), Burst: c.Int("kube-burst"),
	})
	if err != nil {
		return nil, err
	}
	p.events = kube.NewRecorder(p.writer, rt.Instance)
	if p.herald, err = herald.New(p.events, c.Float64("kube-qps"), rt.Log, rt.Metrics); err != nil {
		return nil, err
	}
	bucket := kv.Open(rt.Control, fleet.BucketResources, rt.Provisioning)
	p.keeper = keeper.New(keeper.Config{
		Bucket: bucket, Informers: sources, Writer: p.writer, HandBackAfter: rt.LeaseTTL, Log: rt.Log,
		MaxValue: func() int { return int(rt.Control.MaxPayload()) - messageRoom },
	})
	p.elector = kv.NewElector(kv.ElectorConfig{
		Bucket: bucket, Own: true, Instance: rt.Instance, TTL: rt.LeaseTTL, Log: rt.Log,
		Eligible: func() bool { return p.synced() && p.keeper.Eligible() },
	})
	return p, rt.Metrics.Register(service.NewFence(fleet.BucketResources, p.elector.Refusals))
}

func (p *parts) handler(rt *service.Runtime) (*acting.Handler, error) {
	metrics, err := acting.NewMetrics(rt.Metrics)
	if err != nil {
		return nil, err
	}
	return acting.NewHandler(acting.Config{
		Holding: p.holding,
		Ready:   func() bool { return p.keeper.CaughtUp() && p.synced() },
		Epochs: map[string]*acting.Epoch{
			fleet.ServiceReconciler: acting.NewEpoch(kv.Open(rt.Data, fleet.BucketDesiredState, rt.Provisioning)),
			fleet.ServiceAggregator: acting.NewEpoch(kv.Open(rt.Control, fleet.BucketLeases, rt.Provisioning)),
		},
		Stores: p.stores, Writer: p.writer, Events: p.events, Herald: p.herald, Metrics: metrics,
	}), nil
}

// holding reports whether this replica holds the lease.
func (p *parts) holding() bool { return p.elector.Term() != nil }

// synced reports whether both kinds are in view.
func (p *parts) synced() bool {
	for _, informer := range p.informers {
		if !informer.Synced() {
			return false
		}
	}
	return true
}

// tell tells the service's health what there is.
func (p *parts) tell(rt *service.Runtime) {
	for _, kind := range kube.Kinds() {
		informer := p.informers[kind]
		rt.Health.Source(kind.Resource, true, func() fleet.Source {
			s := informer.Source()
			p.keeper.FillRefused(&s)
			return s
		})
	}
	rt.Health.Source(fleet.BucketResources, true, p.keeper.Source)
	rt.Health.Lease(p.elector.Health)
	rt.Health.Converging(func() bool { return p.holding() && !p.keeper.Settled() })
}

// reasonsEvery is how often the health is told what is wrong.
const reasonsEvery = 250 * time.Millisecond

// watchReasons tells the service's health what is wrong with the apiserver and the lease.
func (p *parts) watchReasons(ctx context.Context, health *service.Health) error {
	tick := time.NewTicker(reasonsEvery)
	defer tick.Stop()
	for {
		for kind, informer := range p.informers {
			health.Degraded(kind.Resource, informer.Reason())
		}
		health.Degraded("lease", p.elector.Reason())
		health.Degraded("writes", p.writer.Reason())
		health.Degraded("mirror", p.keeper.Reason())
		select {
		case <-ctx.Done():
			return fmt.Errorf("watch for reasons: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
