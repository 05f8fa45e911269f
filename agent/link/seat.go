package link

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent"
	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// seat is one agent's place. It implements [agent.Seat].
type seat struct {
	link    *Link
	device  fleet.DeviceID
	post    func(protocol.Event)
	intakes []*intake
}

// Join implements [agent.Conn]. A device that has joined already is refused.
func (l *Link) Join(device fleet.DeviceID, post func(protocol.Event)) (agent.Seat, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.seats[device]; ok {
		return nil, fmt.Errorf("%s has joined this connection already", device)
	}
	s := &seat{link: l, device: device, post: post}
	for subject, loss := range map[string]protocol.Event{
		fleet.LiveSubjects(device):  protocol.Lost{},
		fleet.ResyncSubject(device): protocol.ResyncAsked{},
	} {
		in, err := l.subscribe(subject, loss)
		if err != nil {
			s.unsubscribe()
			return nil, err
		}
		s.intakes = append(s.intakes, in)
	}
	l.seats[device] = s
	if l.online {
		post(protocol.Connected{})
	}
	return s, nil
}

// Leave implements [agent.Seat].
func (s *seat) Leave() {
	s.unsubscribe()
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	delete(s.link.seats, s.device)
	s.post = func(protocol.Event) {}
}

func (s *seat) unsubscribe() {
	for _, in := range s.intakes {
		in.end()
	}
}

// Ask implements [agent.Seat].
func (s *seat) Ask(a protocol.Ask) {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	// The types of the contract always encode.
	data, _ := json.Marshal(a.Request)
	if !s.link.online {
		return
	}
	s.link.asks.begin(&call{
		subject: fleet.DesiredSubject(s.device), data: data,
		done: func(m *nats.Msg, _ error) { s.post(pageEvent(a.ID, m)) },
	})
}

// Publish implements [agent.Seat].
func (s *seat) Publish(p protocol.Publish) {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if !s.link.online {
		return
	}
	s.link.publishes.begin(&call{
		subject: fleet.KeySubject(p.Bucket, p.Key), data: p.Value,
		done: func(m *nats.Msg, err error) {
			s.post(protocol.Published{ID: p.ID, Outcome: outcome(p.Bucket, m, err)})
		},
	})
}
