package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"harmony.dev/agent"
	"harmony.dev/agent/disk"
	"harmony.dev/agent/link"
	"harmony.dev/fleet"
)

// Fleet is the simulated devices.
type Fleet struct {
	cfg    Config
	links  []*link.Link
	agents []*agent.Agent
	gates  map[fleet.DeviceID]*gate
}

// Run simulates devices until ctx is done.
func Run(ctx context.Context, cfg Config) error {
	f, err := New(cfg)
	if err != nil {
		return err
	}
	return f.Run(ctx)
}

// New makes the devices. They do nothing before [Fleet.Run].
func New(cfg Config) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure simulation: %w", err)
	}
	if len(cfg.Conns) == 0 {
		return nil, errors.New("configure simulation: it needs a connection")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fleet{cfg: cfg, gates: map[fleet.DeviceID]*gate{}}
	for _, nc := range cfg.Conns {
		f.links = append(f.links, link.New(nc, link.Options{Log: cfg.Log}))
	}
	var store agent.Store // a nil interface when there is none
	if cfg.DataDir != "" {
		s, err := disk.Open(cfg.DataDir, false)
		if err != nil {
			return nil, err
		}
		store = s
	}
	for i := range cfg.Devices {
		a, err := f.device(i, store)
		if err != nil {
			return nil, err
		}
		f.agents = append(f.agents, a)
	}
	return f, nil
}

func (f *Fleet) device(i int, store agent.Store) (*agent.Agent, error) {
	c, id := f.cfg, f.cfg.ID(i)
	p := c.Protocol
	p.Device, p.Info, p.Seed = id, c.info(i), draw(c.Seed, "protocol", string(id)).Uint64()
	g := &gate{conn: f.links[i%len(f.links)]}
	for _, silence := range c.Silences {
		if silence.From == 0 && (silence.Device == id || silence.Device == AllDevices) {
			g.silence(true) // from the first moment on
		}
	}
	f.gates[id] = g
	return agent.New(agent.Config{
		Config: p, Conn: g, Store: store, Log: c.Log, Now: clock(c.Skews[id]),
		Runtime: runtime{behaviour{seed: c.Seed, delay: c.Delay, failRate: c.FailRate}, id},
	})
}

// clock returns a clock that is wrong by skew.
func clock(skew time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(skew) }
}

// Run simulates until ctx is done.
func (f *Fleet) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range f.links {
		group.Go(func() error { return l.Run(ctx) })
	}
	group.Go(func() error { f.keepSilences(ctx); return nil })
	for _, a := range f.agents {
		group.Go(func() error { return a.Run(ctx) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("simulate devices: %w", err)
	}
	return nil
}

// Silence cuts a device ([AllDevices]: every one) off the network, or brings it back.
func (f *Fleet) Silence(id fleet.DeviceID, on bool) {
	if id != AllDevices {
		if g := f.gates[id]; g != nil {
			g.silence(on)
		}
		return
	}
	for _, g := range f.gates {
		g.silence(on)
	}
}

// keepSilences carries out what the configuration says.
func (f *Fleet) keepSilences(ctx context.Context) {
	type turn struct {
		at     time.Duration
		device fleet.DeviceID
		on     bool
	}
	var turns []turn
	for _, s := range f.cfg.Silences {
		turns = append(turns, turn{s.From, s.Device, true}, turn{s.To, s.Device, false})
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	start := time.Now()
	for _, t := range turns {
		if t.on && t.at == 0 {
			continue // it was made so
		}
		if wait(ctx, time.Until(start.Add(t.at))) != nil {
			return
		}
		f.cfg.Log.Info("device changes", "device", t.device, "silent", t.on)
		f.Silence(t.device, t.on)
	}
}
