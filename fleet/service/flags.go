package service

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"harmony.dev/fleet"
	"harmony.dev/fleet/kv"
)

// UsageError is a flag, environment variable or argument that cannot be used: exit code 2.
type UsageError struct{ text string }

// Error names the flag and says what is wrong with it.
func (e *UsageError) Error() string { return e.text }

func usagef(format string, args ...any) *UsageError {
	return &UsageError{text: Redact(fmt.Sprintf(format, args...))}
}

// settings is what the common flags say.
type settings struct {
	data, control     target
	instance          string
	provisioning      kv.Provisioning
	leaseTTL          time.Duration
	httpListen        string
	httpAddressFile   string
	logFormat         string
	logLevel          string
	exitWithParent    bool
	enableFaultPoints bool
}

// target is how to reach NATS.
type target struct{ url, context, creds string }

func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "nats-url", Value: "nats://127.0.0.1:4222", Usage: "NATS servers of the data connection, separated by commas"},
		&cli.StringFlag{Name: "nats-context", Usage: "NATS context (name or path) of the data connection, instead of --nats-url"},
		&cli.StringFlag{Name: "nats-creds", Usage: "credentials file of the data connection"},
		&cli.StringFlag{Name: "control-nats-url", Usage: "NATS servers of the control connection (default: as data)"},
		&cli.StringFlag{Name: "control-nats-context", Usage: "NATS context of the control connection (default: as data)"},
		&cli.StringFlag{Name: "control-nats-creds", Usage: "credentials file of the control connection (default: as data)"},
		&cli.StringFlag{Name: "fleet", Value: "fleet", Usage: "the fleet: the Kubernetes namespace of its resources"},
		&cli.StringFlag{Name: "instance", Usage: "name of this instance (default: <hostname>-<4 random hex digits>)"},
		&cli.StringFlag{Name: "http-listen", Value: "127.0.0.1:0", Usage: "address of /healthz, /readyz and /metrics, empty for none"},
		&cli.StringFlag{Name: "http-address-file", Usage: "file to write the HTTP address to that was really bound"},
		&cli.DurationFlag{Name: "lease-ttl", Value: 10 * time.Second, Usage: "how long a lease lasts unless renewed"},
		&cli.IntFlag{Name: "kv-replicas", Value: 1, Usage: "replicas of created buckets: 1, 3 or 5"},
		&cli.StringFlag{Name: "kv-storage", Value: string(kv.File), Usage: "storage of created buckets: file or memory"},
		&cli.Int64Flag{Name: "kv-max-bytes", Usage: "size limit of each created bucket in bytes, 0 for none"},
		&cli.StringFlag{Name: "log-format", Value: "text", Usage: "text or json"},
		&cli.StringFlag{Name: "log-level", Value: "info", Usage: "debug, info, warn or error"},
		&cli.BoolFlag{Name: "exit-with-parent", Usage: "end as by SIGTERM when standard input ends"},
		&cli.BoolFlag{Name: "enable-fault-points", Hidden: true, Usage: "serve /fault/… over HTTP, by which goroutines can be made to panic; for tests"},
	}
}

const envPrefix = "FLEET_"

// EnvName returns the environment variable of a flag: "nats-url" → "FLEET_NATS_URL".
func EnvName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// WithoutSettings returns an environment without the operator's own variables: for a child that is told
// all it needs, and must not take another server or fleet from where its parent was started.
func WithoutSettings(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return strings.HasPrefix(v, envPrefix) })
}

// rival returns the flag that says the same in another way, "" when there is none. A URL and a context
// both say which server.
func rival(flag string) string {
	switch {
	case strings.HasSuffix(flag, "nats-url"):
		return strings.TrimSuffix(flag, "url") + "context"
	case strings.HasSuffix(flag, "nats-context"):
		return strings.TrimSuffix(flag, "context") + "url"
	}
	return ""
}

// ApplyEnv sets every flag that the command line did not set from its environment variable, see
// [EnvName]. A URL on the command line keeps a context of the environment out, and the other way round:
// nobody is to write to another server than the one that was named. Both at once are an error.
func ApplyEnv(c *cli.Context, flags []cli.Flag, getenv func(string) string) error {
	given := map[string]bool{}
	for _, f := range flags {
		given[f.Names()[0]] = c.IsSet(f.Names()[0])
	}
	for _, f := range flags {
		name := f.Names()[0]
		value := getenv(EnvName(name))
		if value == "" || given[name] || given[rival(name)] {
			continue
		}
		if err := c.Set(name, value); err != nil {
			return usagef("%s=%q: not a value for --%s", EnvName(name), value, name)
		}
	}
	for name := range given {
		if r := rival(name); r != "" && c.IsSet(name) && c.IsSet(r) {
			return usagef("--%s and --%s (or their environment variables) exclude each other", min(name, r), max(name, r))
		}
	}
	return nil
}

func parseSettings(c *cli.Context) (settings, error) {
	s := settings{
		data:     target{url: c.String("nats-url"), context: c.String("nats-context"), creds: c.String("nats-creds")},
		instance: c.String("instance"),
		leaseTTL: c.Duration("lease-ttl"),
		provisioning: kv.Provisioning{
			Fleet:    c.String("fleet"),
			Replicas: c.Int("kv-replicas"),
			Storage:  kv.Storage(c.String("kv-storage")),
			MaxBytes: c.Int64("kv-max-bytes"),
		},
		httpListen:        c.String("http-listen"),
		httpAddressFile:   c.String("http-address-file"),
		logFormat:         c.String("log-format"),
		logLevel:          c.String("log-level"),
		exitWithParent:    c.Bool("exit-with-parent"),
		enableFaultPoints: c.Bool("enable-fault-points"),
	}
	s.control = s.data.override(target{
		url: c.String("control-nats-url"), context: c.String("control-nats-context"), creds: c.String("control-nats-creds"),
	})
	if s.instance == "" {
		s.instance = newInstance()
	}
	return s, s.validate()
}

// override returns the target with what o sets put in place of it. A URL replaces a context and the
// other way round.
func (t target) override(o target) target {
	if o.url != "" {
		t.url, t.context = o.url, ""
	}
	if o.context != "" {
		t.context = o.context
	}
	if o.creds != "" {
		t.creds = o.creds
	}
	return t
}

func (s settings) validate() error {
	p := s.provisioning
	switch {
	case fleet.DeploymentName(p.Fleet).Validate() != nil:
		return usagef("--fleet %q is no namespace name (lower case letters, digits and '-')", p.Fleet)
	case !slices.Contains([]int{1, 3, 5}, p.Replicas):
		return usagef("--kv-replicas %d is none of 1, 3, 5", p.Replicas)
	case p.Storage != kv.File && p.Storage != kv.Memory:
		return usagef("--kv-storage %q is none of file, memory", p.Storage)
	case p.MaxBytes < 0:
		return usagef("--kv-max-bytes %d is negative", p.MaxBytes)
	case s.leaseTTL < time.Second:
		return usagef("--lease-ttl %s is shorter than 1s, the shortest that NATS keeps", s.leaseTTL)
	}
	return errors.Join(CheckURL("--nats-url", s.data.url), CheckURL("--control-nats-url", s.control.url))
}

// CheckURL returns an error for a list of NATS servers, separated by commas, that can never work. Flag is
// where it came from.
func CheckURL(flag, list string) error {
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Host == "" {
			return usagef("%s %q is no list of NATS URLs (nats://host:4222)", flag, list)
		}
		if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return usagef("%s %q has the scheme %q, not nats, tls, ws or wss", flag, list, u.Scheme)
		}
	}
	return nil
}

func newInstance() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return host + "-" + hex.EncodeToString(b[:])
}
