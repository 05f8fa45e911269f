// Package proxy gives tests a TCP proxy between a client and a server of theirs, in the test's own
// process, that does to connections what networks do: cut them, refuse them, swallow what they carry,
// delay it, hold it back and deliver it late.
package proxy

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// buffer is how many bytes are passed on at once, at most.
const buffer = 32 << 10

// Proxy passes connections on to one server.
type Proxy struct {
	listener net.Listener
	target   string
	ended    chan struct{}

	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	refusing bool
	hole     bool
	delay    time.Duration
	accepted int
	piece    int           // most bytes to take from the server at once
	budget   int           // bytes from the server after which all connections are cut, while > 0
	held     chan struct{} // closed when what clients send may pass
	late     bool          // what was held is delivered although its client may have gone
	sent     func([]byte) bool
	answered func([]byte) bool
}

// New starts a proxy in front of a server, "127.0.0.1:4222" or "nats://127.0.0.1:4222". It ends with the
// test.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	if _, address, ok := strings.Cut(target, "://"); ok {
		target = address
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for a proxy: %v", err)
	}
	p := &Proxy{listener: l, target: target, ended: make(chan struct{}), conns: map[net.Conn]struct{}{}, held: make(chan struct{}), piece: buffer}
	close(p.held)
	var wg sync.WaitGroup
	wg.Go(func() { p.serve(&wg) })
	t.Cleanup(func() {
		_ = l.Close()
		p.Release()
		close(p.ended)
		p.Refuse() // also what is just being connected
		wg.Wait()
	})
	return p
}

// Address is where clients connect: "127.0.0.1:41234".
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// URL is where clients of NATS connect: "nats://127.0.0.1:41234".
func (p *Proxy) URL() string { return "nats://" + p.Address() }

// Cut ends all connections. Clients may come again at once.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Proxy) cut() {
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// Refuse ends all connections and takes no new ones, until Accept.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
	p.cut()
}

// Accept takes connections again.
func (p *Proxy) Accept() { p.set(func() { p.refusing = false }) }

// Accepted is how many connections clients have opened so far, with those that were refused.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Swallow drops what connections carry, both ways, without closing them: a black hole, while on.
func (p *Proxy) Swallow(on bool) { p.set(func() { p.hole = on }) }

// Delay holds everything up for so long, both ways.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// CutAfter cuts all connections once the server has sent so many bytes more; once.
func (p *Proxy) CutAfter(n int) { p.set(func() { p.budget = n }) }

// Pieces has what the server sends passed on in pieces of at most so many bytes, so that something can
// happen between them.
func (p *Proxy) Pieces(n int) { p.set(func() { p.piece = min(n, buffer) }) }

// Watch calls sent with what clients send, before it is passed on (a Hold in it keeps that, too), and
// answered with what the server sends. They are called from several goroutines, and must not keep the slice.
// Either may be nil.
func (p *Proxy) Watch(sent, answered func([]byte)) { p.Filter(passing(sent), passing(answered)) }

func passing(f func([]byte)) func([]byte) bool {
	if f == nil {
		return nil
	}
	return func(b []byte) bool { f(b); return true }
}

// Filter is Watch for functions that say whether to pass on what they saw: what they return false for is
// lost. They may block, which delays it.
func (p *Proxy) Filter(sent, answered func([]byte) bool) {
	p.set(func() { p.sent, p.answered = sent, answered })
}

// Hold keeps what clients send from now on, until Release, which delivers it, also when the client has
// given up meanwhile.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.held:
		p.held, p.late = make(chan struct{}), true
	default: // already
	}
}

// Release delivers what was held.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.held:
	default:
		close(p.held)
	}
}

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *Proxy) serve(wg *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := p.connect(client)
		if err != nil {
			_ = client.Close()
			continue
		}
		wg.Go(func() { p.forward(server, client) })
		wg.Go(func() { p.back(client, server) })
	}
}

// connect opens the connection behind a client's, unless the proxy refuses.
func (p *Proxy) connect(client net.Conn) (net.Conn, error) {
	p.mu.Lock()
	p.accepted++
	refusing := p.refusing
	p.mu.Unlock()
	if refusing {
		return nil, net.ErrClosed
	}
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing { // since then
		_ = server.Close()
		return nil, net.ErrClosed
	}
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	return server, nil
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// forward carries what the client sends.
func (p *Proxy) forward(server, client net.Conn) {
	defer p.forget(server, client)
	buf := make([]byte, buffer)
	for {
		n, err := client.Read(buf)
		sent := p.sender()
		pass := n > 0 && (sent == nil || sent(buf[:n]))
		p.mu.Lock()
		held, delay := p.held, p.delay
		p.mu.Unlock()
		<-held
		time.Sleep(delay)
		if pass && !p.swallows() {
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if p.keepsLate() {
				<-p.ended // the server's answers to what came late are still wanted
			}
			return
		}
	}
}

// back carries what the server sends.
func (p *Proxy) back(client, server net.Conn) {
	defer p.forget(server, client)
	buf := make([]byte, buffer)
	for {
		n, err := server.Read(buf[:p.most()])
		p.mu.Lock()
		answered, delay := p.answered, p.delay
		p.mu.Unlock()
		pass := n > 0 && (answered == nil || answered(buf[:n]))
		time.Sleep(delay)
		if pass && !p.swallows() {
			if p.spent(n) {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil && !p.keepsLate() {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.piece
}

func (p *Proxy) sender() func([]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

func (p *Proxy) swallows() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hole
}

func (p *Proxy) keepsLate() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late
}

// spent takes n bytes from the budget of CutAfter; at its end all connections are cut.
func (p *Proxy) spent(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.budget == 0 {
		return false
	}
	if p.budget = max(p.budget-n, 0); p.budget > 0 {
		return false
	}
	p.cut()
	return true
}
