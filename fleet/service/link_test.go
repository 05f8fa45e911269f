package service

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
)

func testLink(t *testing.T, url string) *link {
	t.Helper()
	l := newLink("data", "fleet-test", "one", target{url: url}, slog.New(slog.DiscardHandler))
	if l.connect(t.Context()) == nil {
		t.Fatal("no connection")
	}
	t.Cleanup(func() { l.close(); <-l.closed })
	return l
}

func awaitReason(t *testing.T, l *link, want string) fleet.Reason {
	t.Helper()
	var got fleet.Reason
	fleettest.Eventually(t, within, "reason "+want, func() bool {
		got = fleet.Reason{}
		if r := l.reason(); r != nil {
			got = *r
		}
		return got.Reason == want
	})
	return got
}

func TestLink_PermissionDenied(t *testing.T) {
	ns := fleettest.NATS(t, fleettest.WithOptions(func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"allowed.>"}},
		}}}
	}))
	l := testLink(t, strings.Replace(ns.URL(), "nats://", "nats://u:p@", 1))
	awaitReason(t, l, "")
	publish := func(subject string) {
		t.Helper()
		if err := l.conn().Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := l.conn().Flush(); err != nil {
			t.Fatal(err)
		}
	}
	publish("_INBOX.chosen.by.the.caller")
	publish("allowed.x")
	if r := l.reason(); r != nil {
		t.Errorf("a refused reply shows as %+v", r)
	}
	publish("$KV.desired-state._epoch")
	if r := awaitReason(t, l, reasonPermissionDenied); !strings.Contains(r.Message, `"$KV.desired-state._epoch"`) || strings.Contains(r.Message, "u:p") {
		t.Errorf("message %q", r.Message)
	}
	ns.Restart()
	awaitReason(t, l, "")
}

func TestLink_ABlackHoleIsSeen(t *testing.T) {
	ns := fleettest.NATS(t)
	p := newProxy(t, strings.TrimPrefix(ns.URL(), "nats://"))
	l := testLink(t, "nats://"+p.addr)
	awaitReason(t, l, "")
	start := time.Now()
	p.freeze()
	awaitReason(t, l, reasonUnreachable)
	t.Logf("down after %s", time.Since(start))
	p.thaw()
	awaitReason(t, l, "")
}

func TestLink_ClosedForGoodIsAFailure(t *testing.T) {
	l := testLink(t, fleettest.NATS(t).URL())
	watched := make(chan error, 1)
	go func() { watched <- l.watch(t.Context()) }()
	l.close()
	if err := <-watched; err == nil {
		t.Fatal("no error")
	}
}

func TestLink_OldServer(t *testing.T) {
	l := testLink(t, "nats://"+oldServer(t))
	r := awaitReason(t, l, reasonTooOld)
	if !strings.Contains(r.Message, "2.10.29") || !strings.Contains(r.Message, "2.14") {
		t.Errorf("message %q", r.Message)
	}
}

func TestTooOld(t *testing.T) {
	for version, want := range map[string]bool{
		"2.14.0": false, "2.15.2": false, "3.0.0": false, "2.14.0-RC.1": false, "2.13.9": true, "2.9.0": true, "1.4.1": true, "": false, "devel": false,
	} {
		if got := tooOld(version); got != want {
			t.Errorf("%q: %t", version, got)
		}
	}
}

func TestReconnectDelay(t *testing.T) {
	for n := range 40 {
		if d := reconnectDelay(n); d < minReconnect || d > 2*time.Second {
			t.Errorf("attempt %d: %s", n, d)
		}
	}
}

// oldServer greets as a server of an older version does and answers pings.
func oldServer(t *testing.T) string {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "INFO {\"server_id\":\"OLD\",\"version\":\"2.10.29\",\"proto\":1,\"max_payload\":1048576,\"headers\":true}\r\n")
			for in := bufio.NewScanner(c); in.Scan(); {
				if in.Text() == "PING" {
					fmt.Fprint(c, "PONG\r\n")
				}
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { lis.Close(); <-done })
	return lis.Addr().String()
}

// proxy passes bytes on until it is frozen; then it keeps connections open and passes nothing.
type proxy struct {
	addr   string
	frozen chan chan struct{} // holds the gate: closed means open
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: lis.Addr().String(), frozen: make(chan chan struct{}, 1)}
	open := make(chan struct{})
	close(open)
	p.frozen <- open
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			s, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			context.AfterFunc(ctx, func() { c.Close(); s.Close() })
			go p.pass(ctx, c, s)
			go p.pass(ctx, s, c)
		}
	}()
	t.Cleanup(func() { cancel(); lis.Close() })
	return p
}

func (p *proxy) pass(ctx context.Context, to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		gate := <-p.frozen
		p.frozen <- gate
		select {
		case <-gate:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) freeze() { <-p.frozen; p.frozen <- make(chan struct{}) }
func (p *proxy) thaw()   { close(<-p.frozen); open := make(chan struct{}); close(open); p.frozen <- open }

// Whoever floods a subscription does not decide how much is logged.
func TestLink_SaysSeldomThatMessagesAreDropped(t *testing.T) {
	var log strings.Builder
	l := newLink("data", "fleet-test", "one", target{}, slog.New(slog.NewTextHandler(&log, nil)))
	for range 100 {
		l.asyncError(nil, &nats.Subscription{Subject: "flooded"}, nats.ErrSlowConsumer)
	}
	if n := strings.Count(log.String(), nats.ErrSlowConsumer.Error()); n != 1 {
		t.Errorf("%d lines for 100 drops in a row", n)
	}
}
