package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
	"github.com/urfave/cli/v2"

	"harmony.dev/devstack"
	"harmony.dev/fleet/service"
)

// server is how to reach the operator's NATS.
type server struct{ context, url, creds string }

// connect connects to the operator's NATS, or says what to do.
func (p *program) connect(c *cli.Context, more ...nats.Option) (*nats.Conn, error) {
	s, err := p.server(c)
	if err != nil {
		return nil, err
	}
	opts := []nats.Option{nats.Name("fleet " + service.BuildVersion()), nats.Timeout(c.Duration("timeout")), nats.MaxReconnects(-1)}
	opts = append(opts, more...)
	if s.creds != "" {
		opts = append(opts, nats.UserCredentials(s.creds))
	}
	if s.context != "" {
		nc, _, err := natscontext.Connect(s.context, opts...)
		if err != nil {
			return nil, fmt.Errorf("connect by NATS context %q: %w; 'nats context ls' lists the contexts", s.context, err)
		}
		return nc, nil
	}
	nc, err := nats.Connect(s.url, opts...)
	if err != nil && !errors.Is(err, nats.ErrNoServers) {
		return nil, fmt.Errorf("connect to %s: %w", service.Redact(s.url), err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w; is the stack running ('fleet dev')? choose another server with --nats-url or --nats-context", service.Redact(s.url), err)
	}
	return nc, nil
}

// server finds the server: flags win over the environment, that over the development stack beside, that
// over the default.
func (p *program) server(c *cli.Context) (server, error) {
	context, url := c.String("nats-context"), c.String("nats-url")
	switch {
	case context != "" && url != "":
		return server{}, usagef("--nats-context and --nats-url exclude each other")
	case context == "" && url == "":
		context, url = p.getenv("FLEET_NATS_CONTEXT"), p.getenv("FLEET_NATS_URL")
	}
	creds := cmp.Or(c.String("nats-creds"), p.getenv("FLEET_NATS_CREDS"))
	if context != "" {
		return server{context: context, creds: creds}, nil
	}
	if url == "" {
		dev, err := devEnv()
		if err != nil {
			return server{}, err
		}
		url, creds = dev["FLEET_NATS_URL"], cmp.Or(creds, dev["FLEET_NATS_CREDS"])
	}
	url = cmp.Or(url, nats.DefaultURL)
	if err := service.CheckURL("--nats-url", url); err != nil {
		return server{}, usagef("%v", err)
	}
	return server{url: url, creds: creds}, nil
}

// devEnv reads how to reach the development stack: of the working directory, else of the tree that this
// binary was built in.
func devEnv() (map[string]string, error) {
	dirs := []string{".dev"}
	if exe, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Join(filepath.Dir(exe), "..", ".dev"))
	}
	for _, dir := range dirs {
		vars, err := devstack.ReadEnv(dir)
		if err != nil || len(vars) > 0 {
			return vars, err
		}
	}
	return nil, nil
}
