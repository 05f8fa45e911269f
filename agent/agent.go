package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// Conn is a connection to NATS that agents share.
type Conn interface {
	// Join subscribes for a device. From then on post gets its events, the first of them
	// [protocol.Connected] once there is a connection. post does not block.
	Join(device fleet.DeviceID, post func(protocol.Event)) (Seat, error)
}

// Seat is an agent's place on a [Conn]. Answers come as events. No method blocks.
type Seat interface {
	Ask(protocol.Ask)
	Publish(protocol.Publish)
	Leave() // ends the subscriptions; no event comes after it
}

// Store remembers the state of devices over restarts.
type Store interface {
	// Load returns the zero State when there is none. With an error it returns the zero State, too:
	// the agent starts with nothing and is told everything again.
	Load(fleet.DeviceID) (protocol.State, error)
	Save(protocol.State) error
}

// Config is what an agent is made of.
type Config struct {
	protocol.Config
	Conn    Conn
	Runtime Runtime
	Store   Store            // nil: it remembers nothing
	Log     *slog.Logger     // nil: it logs nothing
	Now     func() time.Time // the device's clock; nil means time.Now
}

// Agent keeps one device as the fleet wants it.
type Agent struct {
	cfg Config
	box *mailbox
}

// New returns an agent that does nothing before [Agent.Run].
func New(cfg Config) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure agent: %w", err)
	}
	if cfg.Conn == nil || cfg.Runtime == nil {
		return nil, errors.New("configure agent: it needs a connection and a runtime")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Log = cfg.Log.With("device", cfg.Device)
	return &Agent{cfg: cfg, box: newMailbox()}, nil
}

// SetInfo replaces what the device says of itself.
func (a *Agent) SetInfo(info fleet.DeviceInfo) error {
	if err := info.Validate(); err != nil {
		return fmt.Errorf("set info of %s: %w", a.cfg.Device, err)
	}
	a.box.post(protocol.InfoChanged{Info: info})
	return nil
}

// Observe reports what became of a workload after it was applied: nil when it runs again. It is for
// runtimes that watch their workloads.
func (a *Agent) Observe(deployment fleet.DeploymentName, err error) {
	a.box.post(protocol.Observed{Deployment: deployment, Err: text(err)})
}

// Run starts the workloads that the store remembers, joins the fleet, and works until ctx is done.
// Then it leaves the workloads alone, stores its state and returns nil. Run it once.
func (a *Agent) Run(ctx context.Context) error {
	s, err := a.start(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	seat, err := a.cfg.Conn.Join(a.cfg.Device, a.box.post)
	if err != nil {
		return fmt.Errorf("join as %s: %w", a.cfg.Device, err)
	}
	s.seat = seat
	defer seat.Leave()
	for {
		s.drain()
		s.save()
		s.arm()
		select {
		case <-ctx.Done():
			return nil
		case <-a.box.ready:
		case <-s.timer.C:
			a.box.post(protocol.Tick{})
		}
	}
}

// start loads the state and starts what it remembers.
func (a *Agent) start(ctx context.Context) (*session, error) {
	var state protocol.State
	if a.cfg.Store != nil {
		var err error
		if state, err = a.cfg.Store.Load(a.cfg.Device); err != nil {
			a.cfg.Log.Error("stored state is not usable, starting without", "err", err)
		}
	}
	m, err := protocol.New(a.cfg.Config, state, a.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	s := &session{
		cfg: a.cfg, box: a.box, machine: m, timer: time.NewTimer(time.Hour),
		tasks: newTasks(ctx, a.cfg.Runtime, a.box.post),
	}
	s.step(protocol.Started{})
	return s, nil
}
