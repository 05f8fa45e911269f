package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
)

// Spec is what differs between services.
type Spec struct {
	Name  string     // fleet.ServicePatcher
	Usage string     // one line for --help
	Flags []cli.Flag // beside the common ones; each has an environment variable, see EnvName
	// Check judges what the service's own flags say, before anything is started; nil checks nothing. Its
	// error is one of usage.
	Check func(c *cli.Context) error
	// Setup wires the service: it tells rt.Health what there is, adds endpoints and starts goroutines
	// with rt.Go. It does no I/O that can fail for long and returns. The connections may be down.
	Setup func(ctx context.Context, c *cli.Context, rt *Runtime) error
}

// Exit codes of [Main].
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // a second signal
)

// Main runs a service until a signal, the end of ctx or a failure, and returns the exit code. args[0]
// is the program's name. Logs go to stderr, --help and --version to stdout.
func Main(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, spec Spec) int {
	code := exitOK
	flags := append(commonFlags(), spec.Flags...)
	app := &cli.App{
		Name:            spec.Name,
		Usage:           spec.Usage,
		Description:     "Each flag can be set in the environment: --nats-url is FLEET_NATS_URL.",
		Version:         BuildVersion(),
		Flags:           flags,
		HideHelpCommand: true,
		Commands:        []*cli.Command{probeCommand(flags, getenv, stdout)},
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {}, // the default one exits
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usagef("%s", err) },
		Action: func(c *cli.Context) error {
			p, err := newProcess(c, flags, getenv, stderr, spec)
			if err != nil {
				return err
			}
			code = p.main(ctx, c)
			return nil
		},
	}
	err := app.RunContext(ctx, args)
	if sick := (*notHealthy)(nil); errors.As(err, &sick) {
		_, _ = fmt.Fprintln(stderr, sick.text)
		return exitFailed
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %s\nSee %s --help.\n", spec.Name, Redact(err.Error()), spec.Name)
		return exitUsage
	}
	return code
}

// process is one run of a service.
type process struct {
	spec   Spec
	set    settings
	log    *slog.Logger
	health *Health
	group  *group
	links  []*link
}

func newProcess(c *cli.Context, flags []cli.Flag, getenv func(string) string, stderr io.Writer, spec Spec) (*process, error) {
	if c.Args().Present() {
		return nil, usagef("unexpected argument %q", c.Args().First())
	}
	if err := ApplyEnv(c, flags, getenv); err != nil {
		return nil, err
	}
	set, err := parseSettings(c)
	if err != nil {
		return nil, err
	}
	if spec.Check != nil {
		if err := spec.Check(c); err != nil {
			return nil, usagef("%v", err)
		}
	}
	log, err := NewLogger(stderr, set.logFormat, set.logLevel)
	if err != nil {
		return nil, err
	}
	log = log.With("service", spec.Name, "instance", set.instance)
	var faults *faults
	if set.enableFaultPoints {
		faults = newFaults()
	}
	h := newHealth(fleet.Health{
		Service: spec.Name, Instance: set.instance, Version: BuildVersion(), Fleet: set.provisioning.Fleet,
		StartedAt: time.Now().UTC(),
	})
	failing := func(err error) { h.end(reasonFailed, err.Error()) }
	return &process{
		spec: spec, set: set, log: log, health: h,
		group: newGroup(log, faults, h.markBeat, failing),
		links: []*link{
			newLink("data", spec.Name, set.instance, set.data, log),
			newLink("control", spec.Name, set.instance, set.control, log),
		},
	}, nil
}

// main lives the process's life, and leaves it where it stands at a second signal.
func (p *process) main(ctx context.Context, c *cli.Context) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan int, 1)
	go func() { finished <- p.life(ctx, c) }()

	parent, first := p.parentEnd(), ctx.Done()
	stop := func(why string) {
		p.health.end(reasonStopping, "the process is going to end: "+why)
		cancel()
		parent, first = nil, nil
	}
	for signaled := false; ; {
		select {
		case code := <-finished:
			return code
		case s := <-signals:
			p.log.Info("signal", "signal", s.String())
			if signaled {
				return exitInterrupted
			}
			signaled = true
			stop(s.String())
		case <-parent:
			p.log.Info("parent has ended")
			stop("the parent has ended")
		case <-first:
			stop("canceled")
		}
	}
}

// parentEnd returns a channel that is closed when standard input ends, if that is to end the process.
func (p *process) parentEnd() <-chan struct{} {
	if !p.set.exitWithParent {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin) // any end is the end
	}()
	return ended
}

func (p *process) life(ctx context.Context, c *cli.Context) int {
	p.log.Info("starting", "version", BuildVersion(), "fleet", p.set.provisioning.Fleet)
	registry := newRegistry(p.health)
	web, err := listen(ctx, p.set.httpListen, p.set.httpAddressFile, handler(p.health, registry, p.group.faults))
	if err != nil {
		p.log.Error("start", "err", err)
		return exitFailed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.group.run(ctx) }()
	if web != nil {
		p.log.Info("http listening", "addr", web.addr)
		p.group.start("http", web.watch)
	}
	code := p.end(p.run(cancel, ended, func() error { return p.setup(ctx, c, registry) }))
	if code == exitFailed && web != nil {
		time.Sleep(lastWords)
	}
	if err := web.close(); err != nil {
		p.log.Warn("end", "err", err)
	}
	p.log.Info("ended", "exit_code", code)
	return code
}

// lastWords is for how long a process that failed still says on /readyz that it is not ready, and why, when
// all of its goroutines have ended.
const lastWords = 250 * time.Millisecond

// setupLimit is how long the end of a failed process waits for a Setup that has not returned yet.
const setupLimit = time.Second

// run wires the service and returns why the process ended.
func (p *process) run(cancel func(), ended <-chan error, setup func() error) error {
	wired := make(chan error, 1)
	go func() { wired <- setup() }()
	select {
	case err := <-ended:
		limit := stopLimit
		if err != nil {
			limit = setupLimit
		}
		select {
		case setupErr := <-wired:
			return errors.Join(err, setupErr)
		case <-time.After(limit):
			return errors.Join(err, errors.New("the set-up has not returned"))
		}
	case err := <-wired:
		if err != nil {
			p.health.end(reasonFailed, err.Error())
			cancel()
		}
		return errors.Join(err, <-ended)
	}
}

// setup connects and wires the service. It returns nil without doing so when ctx ended first.
func (p *process) setup(ctx context.Context, c *cli.Context, registry prometheus.Registerer) error {
	for _, l := range p.links {
		p.health.addLink(l)
	}
	for _, l := range p.links {
		if l.connect(ctx) == nil {
			return nil
		}
		p.group.start("nats-"+l.name, l.watch)
	}
	rt := &Runtime{
		Log: p.log, Name: p.spec.Name, Instance: p.set.instance, Fleet: p.set.provisioning.Fleet, Version: BuildVersion(),
		Data: p.links[0].conn(), Control: p.links[1].conn(),
		Provisioning: p.set.provisioning, LeaseTTL: p.set.leaseTTL,
		Health: p.health, Metrics: registry, group: p.group,
	}
	if err := p.spec.Setup(ctx, c, rt); err != nil {
		return fmt.Errorf("set up %s: %w", p.spec.Name, err)
	}
	p.health.markSetUp()
	return nil
}

// end lets go of the connections and returns the exit code.
func (p *process) end(err error) int {
	if err != nil {
		p.log.Error("process failed", "err", err)
		for _, l := range p.links {
			l.close()
		}
		return exitFailed
	}
	for _, l := range p.links {
		if err := l.drain(); err != nil {
			p.log.Warn("end", "err", err)
		}
	}
	return exitOK
}
