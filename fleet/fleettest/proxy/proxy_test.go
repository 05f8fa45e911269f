package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"harmony.dev/fleet/fleettest/proxy"
)

// echo is a server that answers each line with itself.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); _, _ = io.Copy(c, c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, p *proxy.Proxy) client {
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return client{c, bufio.NewReader(c)}
}

// say sends a line and returns the answer, or why there is none within d.
func (c client) say(line string, d time.Duration) (string, error) {
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		return "", err
	}
	answer, err := c.r.ReadString('\n')
	return strings.TrimSpace(answer), err
}

func TestProxy(t *testing.T) {
	const soon, never = 10 * time.Second, 100 * time.Millisecond
	for _, c := range []struct {
		name string
		do   func(p *proxy.Proxy)
		undo func(p *proxy.Proxy)
		cut  bool // the connection is lost, rather than silent
	}{
		{"cut", (*proxy.Proxy).Cut, func(*proxy.Proxy) {}, true},
		{"refused", (*proxy.Proxy).Refuse, (*proxy.Proxy).Accept, true},
		{"swallowed", func(p *proxy.Proxy) { p.Swallow(true) }, func(p *proxy.Proxy) { p.Swallow(false) }, false},
		{"delayed", func(p *proxy.Proxy) { p.Delay(2 * never) }, func(p *proxy.Proxy) { p.Delay(0) }, false},
		{"held", (*proxy.Proxy).Hold, (*proxy.Proxy).Release, false},
		{"cut after some bytes", func(p *proxy.Proxy) { p.CutAfter(3) }, func(*proxy.Proxy) {}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := proxy.New(t, echo(t))
			conn := dial(t, p)
			if got, err := conn.say("before", soon); got != "before" {
				t.Fatalf("before: %q, %v", got, err)
			}
			c.do(p)
			got, err := conn.say("during", never)
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) == c.cut {
				t.Errorf("during: %q, %v", got, err)
			}
			c.undo(p)
			if got, err := dial(t, p).say("after", soon); got != "after" {
				t.Errorf("after: %q, %v", got, err)
			}
		})
	}
}

func TestProxy_DeliversLateWhatItHeld(t *testing.T) {
	p := proxy.New(t, echo(t))
	answers := make(chan string, 16)
	p.Watch(func([]byte) {}, func(b []byte) { answers <- string(b) })
	p.Hold()
	conn := dial(t, p)
	if _, err := fmt.Fprintln(conn, "late"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	p.Release()
	select {
	case got := <-answers:
		if got != "late\n" {
			t.Errorf("the server answered %q", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("what was held did not reach the server")
	}
}

func TestProxy_PassesAnswersOnInPieces(t *testing.T) {
	p := proxy.New(t, echo(t))
	pieces := make(chan string, 16)
	p.Watch(nil, func(b []byte) { pieces <- string(b) })
	p.Pieces(4)
	if got, err := dial(t, p).say("0123456789", 10*time.Second); got != "0123456789" {
		t.Fatalf("the answer was %q, %v", got, err)
	}
	for len(pieces) > 0 {
		if piece := <-pieces; len(piece) > 4 {
			t.Errorf("a piece is %q", piece)
		}
	}
}

func TestProxy_KeepsAlsoWhatMadeItHold(t *testing.T) {
	p := proxy.New(t, echo(t))
	p.Watch(func(b []byte) {
		if strings.Contains(string(b), "hold") {
			p.Hold()
		}
	}, nil)
	conn := dial(t, p)
	if got, err := conn.say("before", 10*time.Second); got != "before" {
		t.Fatalf("before: %q, %v", got, err)
	}
	if got, err := conn.say("hold", 100*time.Millisecond); err == nil {
		t.Errorf("the message came through: %q", got)
	}
	p.Release()
}
