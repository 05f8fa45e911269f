package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
	"github.com/urfave/cli/v2"

	"harmony.dev/devstack"
	"harmony.dev/fleet/service"
)

// defaultServers says where the server is taken from when nobody names one.
const defaultServers = "the development stack beside, then the context that 'nats context select' chose, then nats://127.0.0.1:4222"

// server is how to reach the operator's NATS.
type server struct {
	context, url, creds string
	from                string // who says so: "--nats-url", "the development stack in .dev"
	kubeconfig          string // of a development stack
}

// String names it for people, without secrets.
func (s server) String() string {
	where := "NATS context " + s.context
	if s.context == "" {
		where = service.Redact(s.url)
	}
	return fmt.Sprintf("%s (from %s)", where, s.from)
}

// connect connects to the operator's NATS, or says what to do.
func (p *program) connect(c *cli.Context, more ...nats.Option) (*nats.Conn, error) {
	if t := c.Duration("timeout"); t <= 0 {
		return nil, usagef("--timeout %s: an answer takes some time", t)
	}
	s, err := p.server(c)
	if err != nil {
		return nil, err
	}
	opts := []nats.Option{
		nats.Name("fleet " + service.BuildVersion()), nats.Timeout(c.Duration("timeout")), nats.MaxReconnects(-1), nats.ErrorHandler(p.refused),
	}
	nc, err := s.dial(append(opts, more...)...)
	switch {
	case err == nil:
		return nc, nil
	case s.context != "":
		return nil, fmt.Errorf("connect to %s: %w; 'nats context ls' lists the contexts", s, err)
	case !errors.Is(err, nats.ErrNoServers):
		return nil, fmt.Errorf("connect to %s: %w", s, err)
	}
	return nil, fmt.Errorf("connect to %s: %w; is the stack running ('fleet dev')? choose another server with --nats-url or --nats-context", s, err)
}

// refused says what the server does not allow: it does so beside the answers, and what was asked would only seem slow.
func (p *program) refused(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		fmt.Fprintf(p.err, "fleet: the NATS server does not allow this connection to do so: %s\n", printable(err.Error()))
	}
}

func (s server) dial(opts ...nats.Option) (*nats.Conn, error) {
	if s.creds != "" {
		opts = append(opts, nats.UserCredentials(s.creds))
	}
	if s.context != "" {
		nc, _, err := natscontext.Connect(s.context, opts...)
		return nc, err
	}
	return nats.Connect(s.url, opts...)
}

// named is what a command line or an environment says about the server.
type named struct{ context, url, creds string }

// server finds the server that the command line means.
func (p *program) server(c *cli.Context) (server, error) {
	return p.find(named{c.String("nats-context"), c.String("nats-url"), c.String("nats-creds")})
}

// find finds the server: flags win over the environment, that over the development stack beside, that over the selected
// context of the nats command, that over the default.
func (p *program) find(flags named) (server, error) {
	env := named{p.getenv("FLEET_NATS_CONTEXT"), p.getenv("FLEET_NATS_URL"), p.getenv("FLEET_NATS_CREDS")}
	creds := cmp.Or(flags.creds, env.creds)
	var s server
	switch {
	case flags.context != "" && flags.url != "":
		return s, usagef("--nats-context and --nats-url exclude each other")
	case flags.context != "":
		return server{context: flags.context, creds: creds, from: "--nats-context"}, nil
	case flags.url != "":
		s = server{url: flags.url, creds: creds, from: "--nats-url"}
	case env.context != "":
		return server{context: env.context, creds: creds, from: "$FLEET_NATS_CONTEXT"}, nil
	case env.url != "":
		s = server{url: env.url, creds: creds, from: "$FLEET_NATS_URL"}
	default:
		var err error
		if s, err = p.unnamed(creds); err != nil {
			return s, err
		}
	}
	if err := service.CheckURL("--nats-url", s.url); err != nil && s.context == "" {
		return server{}, usagef("%v", err)
	}
	return s, nil
}

// unnamed finds the server when nobody names one.
func (p *program) unnamed(creds string) (server, error) {
	dir, dev, err := devEnv()
	if err != nil {
		return server{}, err
	}
	if url := dev["FLEET_NATS_URL"]; url != "" {
		return server{url: url, creds: cmp.Or(creds, dev["FLEET_NATS_CREDS"]), from: "the development stack in " + dir, kubeconfig: dev["KUBECONFIG"]}, nil
	}
	if context := p.selectedContext(); context != "" {
		return server{context: context, creds: creds, from: "'nats context select'"}, nil
	}
	return server{url: nats.DefaultURL, creds: creds, from: "the default"}, nil
}

// selectedContext returns the context that the nats command uses when it is told none, "" when there is none. The library
// would use it, too, without saying its name.
func (p *program) selectedContext() string {
	dir := p.configDir()
	if dir == "" {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(dir, "nats", "context.txt"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// configDir is where the nats command has its contexts, "" when that is not known.
func (p *program) configDir() string {
	if dir := p.getenv("XDG_CONFIG_HOME"); dir != "" {
		return dir
	}
	if home := p.getenv("HOME"); home != "" {
		return filepath.Join(home, ".config")
	}
	return ""
}

// devEnv reads how to reach the development stack: of the working directory, else of the tree that this
// binary was built in.
func devEnv() (dir string, vars map[string]string, err error) {
	dirs := []string{".dev"}
	if exe, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Join(filepath.Dir(exe), "..", ".dev"))
	}
	for _, dir := range dirs {
		vars, err := devstack.ReadEnv(dir)
		if err != nil || len(vars) > 0 {
			return filepath.Clean(dir), vars, err
		}
	}
	return "", nil, nil
}
