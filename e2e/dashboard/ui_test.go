package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"harmony.dev/e2e/browser"
	"harmony.dev/e2e/lab"
	"harmony.dev/fleet/child"
	"harmony.dev/fleet/fleettest/proxy"
	"harmony.dev/fleet/service"
)

// ui is a running "fleet dashboard".
type ui struct {
	t    *testing.T
	s    *site
	url  string       // "http://127.0.0.1:41234"
	nats *proxy.Proxy // its own way to NATS
	log  string       // where its output is
	proc *child.Process
	args []string
}

// token is what those who may change something know.
const token = "correct-horse-battery-staple"

// serve starts a dashboard, and waits until it answers.
func (s *site) serve(flags ...string) *ui {
	s.t.Helper()
	u := &ui{t: s.t, s: s, nats: proxy.New(s.t, strings.TrimPrefix(s.NATS.URL(), "nats://"))}
	listen := fmt.Sprintf("127.0.0.1:%d", lab.FreePort(s.t)) // the same over restarts
	u.url, u.log = "http://"+listen, filepath.Join(s.Dir(), "dashboard.log")
	u.args = append([]string{"--nats-url", u.nats.URL(), "dashboard", "--listen", listen, "--address-file", u.addressFile()}, flags...)
	s.t.Cleanup(func() { _ = u.proc.Kill() })
	u.start()
	return u
}

// serveActions starts one that lets those who know the token change something.
func (s *site) serveActions() *ui {
	s.t.Helper()
	file := filepath.Join(s.Dir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.serve("--allow-actions", "--token-file", file, "--kubeconfig", s.Kube.Kubeconfig, "--namespace", s.Fleet)
}

// in is the same dashboard for a subtest, whose pages end with it.
func (u *ui) in(t *testing.T) *ui {
	part := *u
	part.t = t
	return &part
}

func (u *ui) addressFile() string { return filepath.Join(u.s.Dir(), "dashboard.http") }

func (u *ui) start() {
	u.t.Helper()
	_ = os.Remove(u.addressFile()) // of the process before
	log, err := os.OpenFile(u.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		u.t.Fatal(err)
	}
	defer log.Close()
	u.proc, err = child.Start(child.Spec{
		Name: "dashboard", Path: filepath.Join(lab.BinDir(u.t), "fleet"), Args: u.args, Stdout: log, Stderr: log,
		Env: append(service.WithoutSettings(os.Environ()), "HOME="+u.s.Dir(), "XDG_CONFIG_HOME="+u.s.Dir()),
	})
	if err != nil {
		u.t.Fatalf("start the dashboard ('make build' builds it): %v", err)
	}
	u.s.Eventually(20*time.Second, "the dashboard to answer", func(ctx context.Context) error {
		select {
		case <-u.proc.Done():
			text, _ := os.ReadFile(u.log)
			u.t.Fatalf("the dashboard has ended: %v\n%s", u.proc.Err(), text)
		default:
		}
		address, err := os.ReadFile(u.addressFile())
		if err != nil {
			return err
		}
		if got := strings.TrimSpace(string(address)); "http://"+got != u.url {
			u.t.Fatalf("the dashboard says that it listens on %q, and was told %s", got, u.url)
		}
		_, err = u.get(ctx, "/healthz")
		return err
	})
}

// kill ends it with SIGKILL.
func (u *ui) kill() {
	u.t.Helper()
	if err := u.proc.Kill(); err != nil {
		u.t.Fatal(err)
	}
}

// signal sends SIGSTOP or SIGCONT.
func (u *ui) signal(s syscall.Signal) {
	u.t.Helper()
	if err := u.proc.Signal(s); err != nil {
		u.t.Fatal(err)
	}
}

// get asks for a path and returns the answer, whose body was read and closed.
func (u *ui) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url+path, nil)
	if err != nil {
		return nil, err
	}
	return send(req)
}

// page opens a page of the dashboard, and waits until it is live.
func (u *ui) page(path string, o browser.Options) *browser.Page {
	u.t.Helper()
	p := browser.New(u.t, o)
	p.Open(u.url + path)
	if !o.NoScript {
		p.Becomes(10*time.Second, browser.Attr("html", "data-live"), "on")
	}
	return p
}

// state is an expression for the state of the banner.
var state = browser.Attr("#banner", "data-state")
