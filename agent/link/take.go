package link

import (
	"strings"

	"github.com/nats-io/nats.go"

	"harmony.dev/agent/protocol"
	"harmony.dev/fleet"
)

// take hands one message to whom it is for.
func (l *Link) take(m *nats.Msg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	subject := m.Subject
	switch {
	case strings.HasPrefix(subject, fleet.LivePrefix):
		l.live(m)
	case subject == fleet.SubjectResyncAll:
		l.all(protocol.ResyncAsked{})
	case strings.HasPrefix(subject, fleet.SubjectResyncAll):
		device := strings.TrimPrefix(subject, fleet.SubjectResyncAll+".")
		if s := l.seats[fleet.DeviceID(device)]; s != nil {
			s.post(protocol.ResyncAsked{})
		}
	default:
		if token, ok := strings.CutPrefix(subject, l.publishes.inbox); ok {
			l.publishes.answered(token, m)
		} else if token, ok := strings.CutPrefix(subject, l.asks.inbox); ok {
			l.asks.answered(token, m)
		}
	}
}

func (l *Link) live(m *nats.Msg) {
	device, _, _ := strings.Cut(strings.TrimPrefix(m.Subject, fleet.LivePrefix), ".")
	s := l.seats[fleet.DeviceID(device)]
	if s == nil {
		return
	}
	e, err := protocol.DecodeLive(s.device, m.Subject, m.Header, m.Data)
	if err != nil {
		l.log.Warn("live message is not about an own key, ignored", "device", s.device, "subject", m.Subject, "err", err)
		return
	}
	s.post(e)
}
