package accounts

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"harmony.dev/e2e/lab"
	"harmony.dev/fleet/child"
	"harmony.dev/fleet/fleettest"
)

const (
	wait     = 20 * time.Second
	password = "a password that is long enough" // of the devices that have no nkey, and of the test's own users
)

// users are the names in keys.conf, and the inbox of each.
var users = map[string]string{
	"PATCHER": "patcher", "RECONCILER": "reconciler", "AGGREGATOR": "aggregator", "ADMIN": "admin", "VIEWER": "viewer",
	"PATCHER_DATA": "patcher", "RECONCILER_DATA": "reconciler", "AGGREGATOR_DATA": "aggregator", "ADMIN_DATA": "admin",
}

// server is a nats-server with the shipped configuration, or a cluster of them.
type server struct {
	t     *testing.T
	dir   string
	bin   string
	ports []int
	procs []*child.Process
	log   *fleettest.Buffer // of all
	conns int
}

// loosening replaces text of the shipped configuration or of the users that devices.sh has written.
type loosening struct{ old, new string }

// newServer writes the configuration with a key for each user and starts it on so many nodes. Every other device has a
// password.
func newServer(t *testing.T, nodes int, devices []string, loosened ...loosening) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), bin: lab.BinDir(t), log: &fleettest.Buffer{}}
	var keys strings.Builder
	for user := range users {
		fmt.Fprintf(&keys, "%s: %s\n", user, s.key(user))
	}
	s.write("keys.conf", keys.String())
	s.devices(devices)
	shipped, err := os.ReadFile(filepath.Join(lab.Root(t), "deploy", "nats", "accounts.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("accounts.conf", string(shipped))
	s.loosen(loosened)
	s.configure(nodes)
	for i := range nodes {
		s.start(i)
	}
	return s
}

// configure writes what differs from node to node.
func (s *server) configure(nodes int) {
	s.t.Helper()
	var listen, routes []string
	for range nodes {
		s.ports = append(s.ports, lab.FreePort(s.t))
		listen = append(listen, fmt.Sprintf("127.0.0.1:%d", lab.FreePort(s.t)))
		routes = append(routes, fmt.Sprintf("%q", "nats://"+listen[len(listen)-1]))
	}
	for i := range nodes {
		text := fmt.Sprintf("server_name: n%d\nlisten: \"127.0.0.1:%d\"\njetstream { store_dir: %q }\ninclude ./accounts.conf\n", i, s.ports[i], s.path(fmt.Sprint("store", i)))
		if nodes > 1 {
			text += fmt.Sprintf("cluster { name: fleet, listen: %q, no_advertise: true, routes: [%s] }\n", listen[i], strings.Join(routes, ", "))
		}
		s.write(fmt.Sprintf("nats%d.conf", i), text)
	}
}

// loosen replaces text in the configuration. What is not there to be replaced is a mistake of the test.
func (s *server) loosen(all []loosening) {
	s.t.Helper()
	for _, l := range all {
		found := false
		for _, file := range []string{"accounts.conf", "devices.conf"} {
			text := s.read(file)
			found = found || strings.Contains(text, l.old)
			s.write(file, strings.ReplaceAll(text, l.old, l.new))
		}
		if !found {
			s.t.Fatalf("the configuration does not have %q", l.old)
		}
	}
}

// devices writes the users of devices as an operator does.
func (s *server) devices(names []string) {
	s.t.Helper()
	var list strings.Builder
	for i, d := range names {
		secret := s.hash()
		if i%2 == 0 {
			secret = s.key(d)
		}
		fmt.Fprintf(&list, "%s %s\n", d, secret)
	}
	cmd := exec.CommandContext(s.t.Context(), "sh", filepath.Join(lab.Root(s.t), "deploy", "nats", "devices.sh"))
	cmd.Stdin = strings.NewReader(list.String())
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("devices.sh: %v", err)
	}
	s.write("devices.conf", string(out))
}

// key makes the nkey of a user, unless there is one, and returns its public part.
func (s *server) key(user string) string {
	s.t.Helper()
	if _, err := os.Stat(s.path(user + ".nk")); err != nil {
		s.nats("auth", "nkey", "gen", "user", "--output", s.path(user+".nk"))
	}
	return strings.TrimSpace(s.nats("auth", "nkey", "show", s.path(user+".nk")))
}

// hash is the hash of the password, the same each time: it is salted, and a user that changes loses its connection.
func (s *server) hash() string {
	s.t.Helper()
	if _, err := os.Stat(s.path("hash")); err != nil {
		s.write("hash", s.nats("server", "passwd", "--pass", password, "--cost", "4")) // the lowest: it is not to take long
	}
	return strings.TrimSpace(s.read("hash"))
}

// nats runs the nats command without the machine's own configuration.
func (s *server) nats(args ...string) string {
	s.t.Helper()
	out, err := s.command("nats", args...)
	if err != nil {
		s.t.Fatalf("nats %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// command runs one of the tools that are built into bin, or a program by its whole path.
func (s *server) command(name string, args ...string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(s.bin, name)
	}
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Dir, cmd.Env = s.dir, []string{"HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir, "NO_COLOR=1", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *server) path(file string) string { return filepath.Join(s.dir, file) }

// url is where the next one connects: at each node in turn.
func (s *server) url() string {
	s.conns++
	return fmt.Sprintf("nats://127.0.0.1:%d", s.ports[s.conns%len(s.ports)])
}

func (s *server) read(file string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.path(file))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *server) write(file, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(file), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) start(i int) {
	s.t.Helper()
	proc, err := child.Start(child.Spec{
		Name: "nats-server", Path: filepath.Join(s.bin, "nats-server"), Args: []string{"-c", s.path(fmt.Sprintf("nats%d.conf", i))},
		Stdout: s.log, Stderr: s.log,
	})
	if err != nil {
		s.t.Fatalf("start nats-server (run 'make peers' first): %v", err)
	}
	s.procs = append(s.procs, proc)
	s.t.Cleanup(func() { _ = proc.Kill() })
	fleettest.Eventually(s.t, wait, "nats-server accepts connections", func() bool {
		c, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.ports[i]))
		if err == nil {
			return c.Close() == nil
		}
		select {
		case <-proc.Done():
			s.t.Fatalf("nats-server ended: %v\n%s", proc.Err(), s.log)
		default:
		}
		return false
	})
}

// reload has all nodes read their configuration again.
func (s *server) reload() {
	s.t.Helper()
	const reloaded = "Reloaded server configuration"
	before := strings.Count(s.log.String(), reloaded)
	for _, proc := range s.procs {
		if err := proc.Signal(syscall.SIGHUP); err != nil {
			s.t.Fatal(err)
		}
	}
	fleettest.Eventually(s.t, wait, "the servers have reloaded", func() bool {
		return strings.Count(s.log.String(), reloaded) == before+len(s.procs)
	})
}

// context writes a NATS context of a user or device and returns its path.
func (s *server) context(user string) string {
	s.t.Helper()
	c := map[string]string{"url": s.url(), "inbox_prefix": inbox(user)}
	if _, err := os.Stat(s.path(user + ".nk")); err == nil {
		c["nkey"] = s.path(user + ".nk")
	} else {
		c["user"], c["password"] = user, password
	}
	doc, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(user+".json", string(doc))
	return s.path(user + ".json")
}

func inbox(user string) string {
	if name, ok := users[user]; ok {
		user = name
	}
	return "_INBOX." + user
}

// conn connects as a user or device.
func (s *server) conn(user string, opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	opts = append([]nats.Option{nats.CustomInboxPrefix(inbox(user)), nats.Name(user)}, opts...)
	if _, err := os.Stat(s.path(user + ".nk")); err == nil {
		o, err := nats.NkeyOptionFromSeed(s.path(user + ".nk"))
		if err != nil {
			s.t.Fatal(err)
		}
		opts = append(opts, o)
	} else {
		opts = append(opts, nats.UserInfo(user, password))
	}
	nc, err := nats.Connect(s.url(), opts...)
	if err != nil {
		s.t.Fatalf("connect as %s: %v\n%s", user, err, s.log)
	}
	s.t.Cleanup(nc.Close)
	return nc
}
