package main

import (
	"bytes"
	"net"
	"net/url"
	"regexp"
	"sync"
	"testing"
)

// proxy is a TCP proxy in front of a NATS server. While it is shut it keeps what clients send, and
// delivers it when it is opened again, also when the client has given up meanwhile: a network that holds
// packets back. What was said meanwhile is kept for the test to read.
type proxy struct {
	listener net.Listener
	target   string

	ended chan struct{}

	mu      sync.Mutex
	open    chan struct{} // closed while open
	sent    bytes.Buffer  // by clients
	answers bytes.Buffer  // by the server
	conns   []net.Conn
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: u.Host, open: make(chan struct{}), ended: make(chan struct{})}
	close(p.open)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.serve()
	}()
	t.Cleanup(func() {
		_ = l.Close()
		p.release()
		close(p.ended)
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		<-done
	})
	return p
}

func (p *proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// shut holds back what clients send from now on.
func (p *proxy) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
	p.sent.Reset()
	p.answers.Reset()
}

// release delivers what was held back.
func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

func (p *proxy) gate() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// refused reports whether the server has refused, by its condition, what a client published on this
// subject since the proxy was shut.
func (p *proxy) refused(subject string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	publish := regexp.MustCompile(`HPUB ` + regexp.QuoteMeta(subject) + ` (\S+) `)
	for _, m := range publish.FindAllSubmatch(p.sent.Bytes(), -1) {
		answer := regexp.MustCompile(`MSG ` + regexp.QuoteMeta(string(m[1])) + ` [^\r]*\r\n[^\r]*"err_code":10071`)
		if answer.Match(p.answers.Bytes()) {
			return true
		}
	}
	return false
}

func (p *proxy) serve() {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		wg.Go(func() { p.forward(server, client) })
		wg.Go(func() { p.back(client, server) })
	}
}

// forward carries what the client sends, through the gate. The client's end is not the server's.
func (p *proxy) forward(server, client net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		p.mu.Lock()
		p.sent.Write(buf[:n])
		p.mu.Unlock()
		<-p.gate()
		if n > 0 {
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			<-p.ended // the server's answers are still wanted
			return
		}
	}
}

// back carries what the server answers, and keeps it, whether or not the client still listens.
func (p *proxy) back(client, server net.Conn) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := server.Read(buf)
		p.mu.Lock()
		p.answers.Write(buf[:n])
		p.mu.Unlock()
		_, _ = client.Write(buf[:n])
		if err != nil {
			return
		}
	}
}
