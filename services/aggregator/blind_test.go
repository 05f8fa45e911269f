package main

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// wire is a TCP connection point in front of the NATS server that can be cut.
type wire struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (r *rig) wire() *wire {
	r.t.Helper()
	u, err := url.Parse(r.nats.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	w := &wire{listener: l, target: u.Host}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.serve()
	}()
	r.t.Cleanup(func() {
		_ = l.Close()
		w.set(true)
		<-done
	})
	return w
}

func (w *wire) url() string { return "nats://" + w.listener.Addr().String() }

// set cuts the wire, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.conns = nil
	}
}

func (w *wire) serve() {
	var pipes sync.WaitGroup
	defer pipes.Wait()
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.target)
		if err != nil || !w.keep(client, server) {
			_ = client.Close()
			if err == nil {
				_ = server.Close()
			}
			continue
		}
		for _, p := range [][2]net.Conn{{client, server}, {server, client}} {
			pipes.Go(func() {
				_, _ = io.Copy(p[0], p[1])
				_ = p[0].Close()
				_ = p[1].Close()
			})
		}
	}
}

func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return false
	}
	w.conns = append(w.conns, conns...)
	return true
}

// A holder that cannot see hands the lease to a replica that can.
func TestBlind_HolderHandsTheLeaseBack(t *testing.T) {
	r := newRig(t)
	data := r.wire()
	blind := []string{"--nats-url", data.url(), "--control-nats-url", r.nats.URL()}
	a1 := r.acting("a1", blind...)
	ids := r.fleetOf(2)
	r.registered(ids...)
	r.running("web", ids...)

	data.set(true)
	r.eventually("it hands the lease back", func() bool { h := a1.health(); return h.Instance != "" && h.Lease != nil && !h.Lease.Held })
	r.never(time.Second, "it takes the lease although it is blind", func() bool { h := a1.health(); return h.Lease != nil && h.Lease.Held })
	data.set(false)
	mended := time.Now()
	a1.acts()
	t.Logf("alone, it acts again %s after the sources are back", time.Since(mended))

	a2 := r.start("a2")
	r.eventually("the standby sees", func() bool { return a2.health().Ready })
	data.set(true)
	a2.acts()
}
