package sim

import (
	"sync"

	"harmony.dev/agent"
	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// gate stands between one device and its connection, and can be shut: then the device is cut off, as by
// a cable that is pulled. It implements [agent.Conn].
type gate struct {
	conn agent.Conn

	mu     sync.Mutex
	shut   int  // how many reasons there are for it to be shut
	online bool // how the connection behind it is
	post   func(protocol.Event)
}

// Join implements [agent.Conn].
func (g *gate) Join(device fleet.DeviceID, post func(protocol.Event)) (agent.Seat, error) {
	g.mu.Lock()
	g.post = post
	g.mu.Unlock()
	seat, err := g.conn.Join(device, g.pass)
	if err != nil {
		return nil, err
	}
	return gateSeat{g, seat}, nil
}

func (g *gate) pass(e protocol.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch e.(type) {
	case protocol.Connected:
		g.online = true
	case protocol.Disconnected:
		g.online = false
	}
	if g.shut == 0 {
		g.post(e)
	}
}

// silence shuts the gate, or takes one reason for it back.
func (g *gate) silence(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.shut > 0
	if on {
		g.shut++
	} else {
		g.shut = max(g.shut-1, 0)
	}
	is := g.shut > 0
	if was == is || g.post == nil || !g.online {
		return
	}
	if is {
		g.post(protocol.Disconnected{})
	} else {
		g.post(protocol.Connected{})
	}
}

func (g *gate) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut == 0
}

// gateSeat is the seat of a device behind its gate.
type gateSeat struct {
	gate *gate
	agent.Seat
}

// Ask implements [agent.Seat].
func (s gateSeat) Ask(a protocol.Ask) {
	if s.gate.open() {
		s.Seat.Ask(a)
	}
}

// Publish implements [agent.Seat].
func (s gateSeat) Publish(p protocol.Publish) {
	if s.gate.open() {
		s.Seat.Publish(p)
	}
}
