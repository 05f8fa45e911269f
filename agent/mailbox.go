package agent

import (
	"sync"

	"harmony.dev/agent/protocol"
)

// maxLive bounds the live messages that wait for the agent.
const maxLive = 1024

// mailbox holds the events that wait for an agent. Posting never blocks.
type mailbox struct {
	mu     sync.Mutex
	events []protocol.Event
	live   int
	ready  chan struct{}
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

// post adds an event. Too many live messages count as lost: the agent then asks for a snapshot.
func (b *mailbox) post(e protocol.Event) {
	b.mu.Lock()
	if _, ok := e.(protocol.Live); ok {
		b.live++
		if b.live == maxLive {
			e = protocol.Lost{}
		}
	}
	if b.live <= maxLive || !isLive(e) {
		b.events = append(b.events, e)
	}
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take returns the events since the last take.
func (b *mailbox) take() []protocol.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	events := b.events
	b.events, b.live = nil, 0
	return events
}

func isLive(e protocol.Event) bool {
	_, ok := e.(protocol.Live)
	return ok
}
