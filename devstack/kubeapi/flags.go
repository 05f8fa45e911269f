package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/component-base/version"
)

// config is the validated command line. Paths are absolute.
type config struct {
	dataDir        string
	bindAddress    string // an IP address
	port           int    // 0: any free one
	kubeconfig     string
	namespace      string
	sans           []string
	serverURL      string // empty: the address listened on
	fsync          bool
	exitWithParent bool
	logLevel       string
}

// usageError is a mistake in the command line, as opposed to a failure to serve.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// envPrefix + the flag's name in upper case and with underscores sets a flag that the command line does not.
const envPrefix = "FLEET_KUBEAPI_"

func newApp(getenv func(string) string, stdout, stderr io.Writer, action func(context.Context, config) error) *cli.App {
	app := &cli.App{
		Name:      "kubeapi",
		Usage:     "a real Kubernetes API in one process, for development and tests",
		Version:   version.Get().GitVersion,
		Writer:    stdout,
		ErrWriter: stderr,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data-dir", Usage: "`DIR` that holds the store, the certificates and the keys"},
			&cli.StringFlag{Name: "bind-address", Value: "127.0.0.1", Usage: "IP `ADDRESS` to listen on"},
			&cli.IntFlag{Name: "port", Value: 6443, Usage: "`PORT` to listen on; 0 picks a free one"},
			&cli.StringFlag{Name: "kubeconfig", Usage: "`PATH` to write the admin kubeconfig to (default: DIR/kubeconfig)"},
			&cli.StringFlag{Name: "namespace", Value: "fleet", Usage: "`NAME` of the namespace to create and to set in the kubeconfig"},
			&cli.StringSliceFlag{Name: "san", Usage: "further host `NAME` or IP address for the certificate (repeatable)"},
			&cli.StringFlag{Name: "server-url", Usage: "`URL` in the kubeconfig (default: the address listened on)"},
			&cli.BoolFlag{Name: "fsync", Value: true, Usage: "write to disk before acknowledging; false is faster and loses data with the machine"},
			&cli.BoolFlag{Name: "exit-with-parent", Usage: "stop when standard input ends"},
			&cli.StringFlag{Name: "log-level", Value: "warn", Usage: "`LEVEL` of the log: error, warn, info or debug"},
		},
		Before: func(c *cli.Context) error { return setFromEnv(c, getenv) },
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Errorf("unexpected argument %q", c.Args().First())}
			}
			cfg, err := configOf(c)
			if err != nil {
				return usageError{err}
			}
			return action(c.Context, cfg)
		},
		// the one line of standard output is not for usage texts, and only main ends the process
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
		ExitErrHandler: func(*cli.Context, error) {},
	}
	return app
}

func setFromEnv(c *cli.Context, getenv func(string) string) error {
	for _, flag := range c.App.Flags {
		name := flag.Names()[0]
		env := envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		value := getenv(env)
		if value == "" || c.IsSet(name) {
			continue
		}
		if err := c.Set(name, value); err != nil {
			return usageError{fmt.Errorf("reading %s: %w", env, err)}
		}
	}
	return nil
}

func configOf(c *cli.Context) (config, error) {
	cfg := config{
		dataDir:        c.String("data-dir"),
		bindAddress:    c.String("bind-address"),
		port:           c.Int("port"),
		kubeconfig:     c.String("kubeconfig"),
		namespace:      c.String("namespace"),
		sans:           c.StringSlice("san"),
		serverURL:      c.String("server-url"),
		fsync:          c.Bool("fsync"),
		exitWithParent: c.Bool("exit-with-parent"),
		logLevel:       c.String("log-level"),
	}
	if cfg.dataDir == "" {
		return config{}, errors.New("--data-dir is missing")
	}
	if net.ParseIP(cfg.bindAddress) == nil {
		return config{}, fmt.Errorf("--bind-address %q is not an IP address", cfg.bindAddress)
	}
	if cfg.port < 0 || cfg.port > 65535 {
		return config{}, fmt.Errorf("--port %d is not between 0 and 65535", cfg.port)
	}
	if problems := validation.IsDNS1123Label(cfg.namespace); len(problems) > 0 {
		return config{}, fmt.Errorf("--namespace %q: %s", cfg.namespace, strings.Join(problems, ", "))
	}
	if cfg.serverURL != "" {
		if u, err := url.Parse(cfg.serverURL); err != nil || u.Scheme != "https" || u.Hostname() == "" {
			return config{}, fmt.Errorf("--server-url %q is not of the form https://HOST:PORT", cfg.serverURL)
		}
	}
	var err error
	if cfg.dataDir, err = filepath.Abs(cfg.dataDir); err != nil {
		return config{}, fmt.Errorf("resolving --data-dir: %w", err)
	}
	if cfg.kubeconfig == "" {
		cfg.kubeconfig = filepath.Join(cfg.dataDir, "kubeconfig")
	}
	if cfg.kubeconfig, err = filepath.Abs(cfg.kubeconfig); err != nil {
		return config{}, fmt.Errorf("resolving --kubeconfig: %w", err)
	}
	return cfg, nil
}
